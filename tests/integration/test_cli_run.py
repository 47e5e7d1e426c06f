"""`stt-batch run` as a person starts it: real processes, the embedded service with an engine that reads tone words.

Commands whose start and signals are not the point run in the test's own process, where the service and the worker of
a run are forks.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import soundfile

from tests.support.command_line import Cli, cli, words_of, write_audio
from tests.support.ports import free_port
from tests.support.wait import wait_until

__all__ = ["cli"]  # a fixture
COMMANDS = (
    *("run", "submit", "watch", "plan", "status", "list", "cancel", "pause", "resume", "retry", "export"),
    *("worker", "server"),
)


def until_running(cli: Cli, process: subprocess.Popen[str], jobs: int = 1) -> None:
    wait_until(
        lambda: process.poll() is not None or cli.log("worker").count("job started") >= jobs, "jobs run", timeout_s=60
    )
    assert process.poll() is None, process.communicate()


def test_a_folder_becomes_transcripts_and_is_not_done_twice(cli: Cli) -> None:
    said = {
        "a": write_audio(cli.folder / "in" / "a.wav", seed=1),
        "deep/b": write_audio(cli.folder / "in" / "deep" / "b.flac", seed=2),
        "c.wav": write_audio(cli.folder / "in" / "c.wav", seed=3),
        "c.flac": write_audio(cli.folder / "in" / "c.flac", seed=4),
    }
    (cli.folder / "in" / "notes.md").write_text("no audio")
    formats = ("--format", "json,srt,vtt,txt")
    told = cli.run_process("run", "in", *formats, "--json")
    first = json.loads(told.stdout)
    assert told.returncode == 0
    assert (first["total"], first["done"], first["failed"], first["skipped"]) == (4, 4, 0, 0)
    out = cli.folder / "transcripts"
    for name, words in said.items():
        assert words_of(out / f"{name}.json") == words
        for fmt in ("srt", "vtt", "txt"):
            assert words[0] in (out / f"{name}.{fmt}").read_text("utf-8")
    assert len([path for path in out.rglob("*.*") if ".stt-batch" not in path.parts]) == 16 + 2
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert (summary["state"], summary["counts"], len(summary["slowest"])) == ("done", {"done": 4}, 4)
    assert "deep/b" in (out / "summary.html").read_text("utf-8")
    assert all(len(job["outputs"]) == 4 and job["duration_s"] > 1 for job in first["jobs"])
    cli.assert_nothing_left()

    # A second run: one file is new and one has changed. These are transcribed, the others skipped. A deleted file is
    # written from the JSON transcript.
    (out / "a.srt").unlink()
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("c.*")}
    said["new"] = write_audio(cli.folder / "in" / "new.wav", seed=5)
    said["deep/b"] = write_audio(cli.folder / "in" / "deep" / "b.flac", seed=6)
    second = cli.json("run", "in", *formats)
    assert {Path(job["source"]).name for job in second["jobs"] if not job["skipped"]} == {"new.wav", "b.flac"}
    assert (second["done"], second["skipped"], second["failed"]) == (5, 3, 0)
    assert said["a"][0] in (out / "a.srt").read_text("utf-8")
    assert all(job["outputs"] for job in second["jobs"])
    assert len(stamps) == 8
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    for name, words in said.items():
        assert words_of(out / f"{name}.json") == words


def test_missing_and_emptied_files_are_written_without_streaming_the_audio_again(cli: Cli) -> None:
    said = {name: write_audio(cli.folder / "in" / f"{name}.wav", seed=seed) for seed, name in enumerate("abc")}
    out = cli.folder / "transcripts"
    assert cli.json("run", "in", "--format", "json,srt")["skipped"] == 0

    def again(formats: str) -> dict[str, int]:
        (out / ".stt-batch" / "worker.log").unlink(missing_ok=True)
        found = cli.json("run", "in", "--format", formats)
        assert "job started" not in cli.log("worker")
        for name, words in said.items():
            assert words_of(out / f"{name}.json") == words
            for fmt in formats.split(","):
                assert words[0] in (out / f"{name}.{fmt}").read_text("utf-8")
        return {key: found[key] for key in ("done", "skipped", "failed")}

    all_skipped = {"done": 3, "skipped": 3, "failed": 0}
    (out / "a.srt").unlink()
    (out / "b.srt").write_bytes(b"")
    assert again("json,srt") == all_skipped
    assert again("json,srt,vtt") == all_skipped
    assert again("json,srt") == all_skipped
    (out / "a.json").write_bytes(b"")
    (out / "b.json").write_bytes((out / "b.json").read_bytes()[:-200])
    assert again("json,srt") == all_skipped  # from the transcripts in the ledger
    cli.assert_nothing_left()


def test_a_manifest_entry_with_an_id_is_not_completed_from_other_audio(cli: Cli) -> None:
    """The id of its job does not depend on the audio."""
    source = cli.folder / "in" / "a.wav"
    write_audio(source, seed=1)
    (cli.folder / "calls.jsonl").write_text(json.dumps({"source": str(source), "id": "call-1"}))
    cli.json("run", "calls.jsonl", "--format", "json,srt")
    (written,) = (path for path in (cli.folder / "transcripts").rglob("a.json") if ".stt-batch" not in path.parts)
    words = write_audio(source, seed=2)
    for path in (written, written.with_suffix(".srt")):
        path.unlink()
    assert cli.json("run", "calls.jsonl", "--format", "json,srt")["skipped"] == 0
    assert words_of(written) == words


def test_a_folder_with_the_name_of_an_output_file_is_an_error(cli: Cli) -> None:
    words = write_audio(cli.folder / "in" / "a.wav", seed=1)
    write_audio(cli.folder / "in" / "b.wav", seed=2)
    (cli.folder / "transcripts" / "b.srt").mkdir(parents=True)
    found = cli.json("run", "in", "--format", "json,srt")
    assert words_of(cli.folder / "transcripts" / "a.json") == words
    (failed,) = [job for job in found["jobs"] if job["state"] == "failed"]
    assert failed["error_code"] == "output"
    assert "b.srt: a folder has this name; move it away" in failed["error"]


def test_failed_and_damaged_files_are_named_with_their_reason(cli: Cli) -> None:
    """A failed file does not affect the others."""
    folder, out = cli.folder / "in", cli.folder / "transcripts"
    said = write_audio(folder / "good.wav")
    (folder / "broken.wav").write_bytes(b"RIFF\x10\x00\x00\x00WAVEjunk")
    (folder / "empty.wav").write_bytes(b"")
    cut = folder / "cut.wav"
    write_audio(cut, duration_s=6)
    length_s = soundfile.info(cut).duration
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    no_utf8 = Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.wav"))
    no_utf8.write_bytes((folder / "good.wav").read_bytes())

    shown = cli.run("run", "in")
    assert shown.returncode == 1
    assert "2 done" in shown.stdout
    assert "3 failed" in shown.stdout
    for name in ("broken.wav", "empty.wav", "caf\\udce9.wav"):
        rows = [line for line in shown.stdout.splitlines() if name in line]
        assert len(rows) == 1, shown.stdout  # each failure once, in one line
        assert rows[0].startswith(f"failed  in/{name}: ")
        assert "; " in rows[0]  # the remedy
    assert "in/empty.wav: the file is empty (0 bytes); " in shown.stdout
    assert shown.stdout.count("cut off: the header") == 1, shown.stdout
    assert shown.stdout.startswith("Loading ")
    assert "the worker" in shown.stdout.splitlines()[0]

    # A second run still shows the defect of the file that it skips.
    second = cli.run("run", "in")
    assert "done before  in/cut.wav" in second.stdout
    assert second.stdout.count("cut off: the header") == 1, second.stdout
    assert "cut off" in (out / "summary.html").read_text("utf-8")
    assert "Traceback" not in shown.stdout + shown.stderr
    assert "\x1b" not in shown.stdout
    assert words_of(out / "good.json") == said

    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert {group["code"] for group in summary["failures"]} == {"source_refused", "source_damaged"}

    # A damaged file is transcribed up to the damage; `--force` transcribes it again.
    again = cli.run("run", "in/cut.wav", "--force", "--json")
    told = json.loads(again.stdout)
    assert (again.returncode, told["done"], told["skipped"]) == (0, 1, 0)
    (job,) = told["jobs"]
    assert (job["state"], job["duration_s"]) == ("done", pytest.approx(length_s / 2, abs=0.1))
    assert "cut off" in job["warnings"][0]


@pytest.mark.parametrize(
    "signals",
    [(signal.SIGINT, signal.SIGKILL), pytest.param((signal.SIGTERM,), marks=pytest.mark.chaos)],
    ids=["interrupted", "terminated"],
)
def test_an_interrupted_or_killed_run_leaves_no_process_and_continues_later(
    cli: Cli, signals: tuple[signal.Signals, ...]
) -> None:
    said = [write_audio(cli.folder / "in" / f"{n}.wav", duration_s=2 + 28 * n, seed=n) for n in range(3)]
    arguments = ("run", "in", "--sessions", "2")
    for number in signals:
        (cli.folder / "transcripts" / ".stt-batch" / "worker.log").unlink(missing_ok=True)
        process = cli.start(*arguments, "--speed", "1")
        until_running(cli, process, jobs=1 if number == signal.SIGKILL else 3)  # 3: so one is done
        assert len(cli.processes()) >= 7  # the command, three guards, three processes
        process.send_signal(number)
        started = time.monotonic()
        out, err = process.communicate(timeout=60)
        assert "Traceback" not in out + err
        if number != signal.SIGKILL:  # after it the next run, at once, waits for the lock
            assert time.monotonic() - started < 25  # the rest of the audio would take 28 s
            assert process.returncode == 128 + number
            assert "run the same command again to continue" in err
            assert "not done" in out
            cli.assert_nothing_left(timeout_s=2)

    rest = cli.json(*arguments)
    assert (rest["done"], rest["failed"]) == (3, 0)
    assert 1 <= rest["skipped"] < 3
    for index, words in enumerate(said):
        assert words_of(cli.folder / "transcripts" / f"{index}.json") == words
    cli.assert_nothing_left()


def test_two_runs_in_one_folder_do_not_mix_and_a_dead_worker_ends_its_run(cli: Cli) -> None:
    write_audio(cli.folder / "in" / "a.wav", duration_s=60)
    first = cli.start("run", "in", "--speed", "1")
    until_running(cli, first)
    second = cli.run("run", "in")
    assert second.returncode == 1
    assert f"another run (process {first.pid})" in second.stderr
    assert "--out" in second.stderr
    assert first.poll() is None

    (worker,) = [
        child
        for child in psutil.Process(first.pid).children(recursive=True)
        if "worker" in child.cmdline() and not any("supervisor.py" in part for part in child.cmdline())
    ]
    worker.kill()
    out, err = first.communicate(timeout=30)
    assert first.returncode == 1
    assert "the worker process ended by itself" in err
    assert "job started" in err  # the end of its log
    assert "Traceback" not in out + err
    cli.assert_nothing_left(timeout_s=2)


def test_a_full_disk_ends_the_run_which_continues_when_space_is_free(cli: Cli) -> None:
    write_audio(cli.folder / "in" / "a.wav", duration_s=6)
    small = cli.folder / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        filler = small / "filler"
        with suppress(OSError), filler.open("wb") as file:
            file.write(bytes(7_500_000))
        full = cli.run("run", "in", "--out", "small/out")
        assert full.returncode == 1
        assert "error: no space left on the disk of" in full.stderr
        assert "Traceback" not in full.stdout + full.stderr
        filler.unlink()
        assert cli.json("run", "in", "--out", "small/out")["done"] == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_service_that_cannot_start_is_reported_and_no_process_remains(cli: Cli) -> None:
    write_audio(cli.folder / "a.wav")
    done = cli.run_process("run", "a.wav", STT_SERVER_RECOGNIZER="no.such.module:load")
    assert done.returncode == 1
    assert "no.such.module" in done.stderr
    cli.assert_nothing_left(timeout_s=2)


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (("run", "nothing.wav"), {}, "no such file or folder: nothing.wav"),
        (("run", "."), {}, "no audio files"),
        (("run", ".", "--format", "doc"), {}, "choose from json, srt, vtt, txt"),
        (("run", ".", "--speed", "fast"), {}, "speed must be"),
        (("run",), {}, "Missing argument"),
        (("run", "a.wav", "--url", "https://stt.example"), {}, "STT_API_KEY"),
        (("run", "a.wav", "--url", "stt.example"), {}, "STT_URL"),
        (("run", "a.wav"), {"STT_STALL_TIMEOUT_S": "soon"}, "STT_STALL_TIMEOUT_S"),
        (("run", "a.wav", "--api-key-file", "none"), {}, "none"),
        (("status", "nobody"), {"STT_REDIS_URL": "ftp://x"}, "STT_REDIS_URL"),
        (("worker",), {}, "STT_API_KEY"),
        (("watch", ".", "--out", "x", "--language", "x" * 36), {}, "language: String should have at most 35"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_message(
    cli: Cli, arguments: tuple[str, ...], environment: dict[str, str], message: str
) -> None:
    if "a.wav" in arguments:
        (cli.folder / "a.wav").touch()
    done = cli.run(*arguments, **environment)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["worker", "watch"])
def test_a_process_with_wrong_usage_ends_with_2(cli: Cli, command: str) -> None:
    """Checks the exit code of a real process. Other tests run commands inside the process of the test."""
    done = cli.run_process(command, "--no-such-option")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such option" in done.stderr
    assert "Traceback" not in done.stderr


def test_another_service_with_a_url_and_a_key(cli: Cli) -> None:
    words = write_audio(cli.folder / "a.wav")
    port = free_port()
    server = cli.fork("server", "--port", str(port), "--ready-file", "ready", STT_SERVER_API_KEYS="right")
    wait_until((cli.folder / "ready").exists, "the server is ready", timeout_s=60)
    (cli.folder / "key").write_text("right\n")
    url = f"http://127.0.0.1:{port}"
    done = cli.json("run", "a.wav", "--url", url, "--api-key-file", "key", "--speed", "max")
    assert done["failed"] == 0
    assert words_of(cli.folder / "transcripts" / "a.json") == words
    assert not (cli.folder / "transcripts" / ".stt-batch" / "server.log").exists()

    refused = cli.run("run", "a.wav", "--force", STT_URL=url, STT_API_KEY="wrong-key")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: API key refused by {url} (HTTP 401: auth_error: the key in the ")
    assert "wrong-key" not in refused.stderr + refused.stdout + cli.log("worker")
    server.send_signal(signal.SIGTERM)
    assert server.wait(20) == 0


def test_a_run_survives_refusals_at_its_start(cli: Cli) -> None:
    """The first handshakes meet a failing service, a page of a CDN, and a service at its limit."""
    words = write_audio(cli.folder / "a.wav")
    port = free_port()
    faults = [f"--fault=http={fault}" for fault in ("503:1", "403:2", "502:3", "429@1:4")]
    cli.fork("server", "--port", str(port), "--ready-file", "ready", *faults, STT_SERVER_API_KEYS="right")
    wait_until((cli.folder / "ready").exists, "the server is ready", timeout_s=60)
    url = f"http://127.0.0.1:{port}"
    # Only websockets are used, so that each attempt is one connection to the server.
    environ = {"STT_URL": url, "STT_API_KEY": "right", "STT_TRANSPORT": "websocket"}
    refused = cli.run("run", "a.wav", STT_SESSION_RETRIES="0", **environ)
    assert refused.returncode == 1
    assert "HTTP 503: a configured fault" in refused.stderr
    refused = cli.run("run", "a.wav", **environ)
    assert "refuses this API key a permission (HTTP 403" in refused.stderr
    done = cli.json("run", "a.wav", "--speed", "max", **environ)
    assert done["failed"] == 0
    assert words_of(cli.folder / "transcripts" / "a.json") == words


def test_the_version_is_shown(cli: Cli) -> None:
    version = cli.run_process("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("stt-batch")


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(cli: Cli, command: str) -> None:
    text = cli.run(command, "--help").stdout
    assert "Examples:" in text
    assert f"stt-batch {command}" in text


def test_submit_worker_and_status_together(cli: Cli, redis_url: str) -> None:
    said = {name: write_audio(cli.folder / "in" / f"{name}.wav", seed=len(name)) for name in ("one", "three")}
    (cli.folder / "in" / "bad.wav").write_bytes(b"nothing")
    port = free_port()
    service = {"STT_URL": f"http://127.0.0.1:{port}", "STT_API_KEY": "k", "STT_REDIS_URL": redis_url}
    cli.fork("server", "--port", str(port), **service)
    cli.fork("worker", "--sessions", "2", "--speed", "max", **service)

    queued = json.loads(
        cli.run_process("submit", "in", "--out", "results", "--batch", "monday", "--json", **service).stdout
    )
    assert queued["batch"] == "monday"
    assert len(queued["jobs"]) == 3
    wait_until(
        lambda: set(cli.json("status", "monday", **service)["counts"]) <= {"done", "failed"},
        "the batch ends",
        timeout_s=60,
        poll_s=0.2,
    )
    batch = cli.json("status", "monday", **service)
    assert batch["counts"] == {"done": 2, "failed": 1}
    for name, words in said.items():
        assert words_of(cli.folder / "results" / f"{name}.json") == words
    (failed,) = [job for job in batch["jobs"] if job["state"] == "failed"]
    one = cli.run("status", failed["id"], **service)
    assert one.returncode == 0
    assert "source_" in one.stdout
    overview = cli.run("status", **service).stdout
    assert "monday: 3 jobs: 2 done, 1 failed" in overview
    again = cli.json("submit", "in/one.wav", "--out", "results", **service)
    assert again["jobs"][0]["before"] == "done"
    nobody = cli.run("status", "nobody", **service)
    assert nobody.returncode == 2
    assert "nobody" in nobody.stderr
