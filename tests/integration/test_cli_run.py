"""`stt-batch run` as a person starts it: real processes, the embedded service with an engine that reads tone words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import soundfile

from tests.support.ports import free_port
from tests.support.tone_recognizer import ENGINE
from tests.support.tones import encode, speech
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
RATE = 16000


def write_audio(path: Path, duration_s: float = 3.0, seed: int = 1) -> list[str]:
    """A file of tone words; the words in it."""
    words = list(speech(duration_s, seed=seed))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, encode(words, RATE), RATE)
    return [word.text for word in words]


def words_of(transcript: Path) -> list[str]:
    document = json.loads(transcript.read_text("utf-8"))
    return [word["text"] for segment in document["segments"] for word in segment["words"]]


class Cli:
    """Runs the command in a folder of its own; knows every process that came of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("STT_")},
            "STT_SERVER_RECOGNIZER": ENGINE,
            "PYTHONPATH": str(ROOT),
            "NO_COLOR": "1",
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.cli", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments, **environment)
        out, err = process.communicate(timeout=100)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def json(self, *arguments: str, **environment: str) -> Any:
        done = self.run(*arguments, "--json", **environment)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def log(self, name: str, out: str = "transcripts") -> str:
        path = self.folder / out / ".stt-batch" / f"{name}.log"
        return path.read_text("utf-8") if path.exists() else ""

    def processes(self) -> list[str]:
        """What is alive of our processes: all of them have the folder in their command line or run in it."""
        alive = []
        for process in psutil.process_iter():
            try:
                place = f"{process.cwd()} {' '.join(process.cmdline())}"
                if str(self.folder) in place and process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(place)
            except psutil.Error:
                continue
        return alive

    def assert_nothing_left(self, timeout_s: float = 6.0) -> None:
        wait_until(lambda: not self.processes(), f"no process is left, but {self.processes()}", timeout_s=timeout_s)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path)
    yield cli
    for process in cli.started:
        process.kill()
        process.communicate(timeout=10)
    cli.assert_nothing_left()


def until_running(cli: Cli, process: subprocess.Popen[str], jobs: int = 1) -> None:
    wait_until(
        lambda: process.poll() is not None or cli.log("worker").count("job begins") >= jobs, "jobs run", timeout_s=40
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
    first = cli.json("run", "in", "--format", "json,srt,vtt,txt")
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

    # Again: nothing to do. One transcript gone: that one. A new file, a changed one: those.
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*.srt")}
    second = cli.json("run", "in", "--format", "json,srt,vtt,txt")
    assert (second["done"], second["skipped"]) == (4, 4)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.srt")} == stamps
    assert all(job["outputs"] for job in second["jobs"])

    (out / "a.srt").unlink()
    said["new"] = write_audio(cli.folder / "in" / "new.wav", seed=5)
    said["deep/b"] = write_audio(cli.folder / "in" / "deep" / "b.flac", seed=6)
    third = cli.json("run", "in", "--format", "json,srt,vtt,txt")
    assert {Path(job["source"]).name for job in third["jobs"] if not job["skipped"]} == {"a.wav", "new.wav", "b.flac"}
    assert (third["done"], third["failed"]) == (5, 0)
    for name, words in said.items():
        assert words_of(out / f"{name}.json") == words

    again = cli.json("run", "in/a.wav", "--format", "json,srt,vtt,txt", "--force")
    assert (again["done"], again["skipped"]) == (1, 0)


def test_failures_are_named_with_their_reason(cli: Cli) -> None:
    write_audio(cli.folder / "in" / "good.wav")
    (cli.folder / "in" / "broken.wav").write_bytes(b"RIFF\x10\x00\x00\x00WAVEjunk")
    (cli.folder / "in" / "empty.wav").write_bytes(b"")
    done = cli.run("run", "in")
    assert done.returncode == 1
    assert "1 done" in done.stdout
    assert "2 failed" in done.stdout
    for name in ("broken.wav", "empty.wav"):
        assert any(line.startswith("failed") and name in line for line in done.stdout.splitlines()), done.stdout
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("in/empty.wav")]
    assert row.endswith("in/empty.wav: the file is empty (0 bytes)")  # in a pipe no row is broken
    assert "Traceback" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout
    assert (cli.folder / "transcripts" / "good.json").exists()


def test_a_recording_that_is_cut_off_is_done_as_far_as_it_goes_and_says_so(cli: Cli) -> None:
    path = cli.folder / "in" / "cut.wav"
    write_audio(path, duration_s=6)
    length_s = soundfile.info(path).duration
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    told = cli.run("run", "in", "--json")
    (job,) = json.loads(told.stdout)["jobs"]
    assert (job["state"], job["duration_s"]) == ("done", pytest.approx(length_s / 2, abs=0.1))
    assert "cut off" in job["warnings"][0]
    shown = cli.run("run", "in", "--force")
    assert (shown.returncode, shown.stdout.count("cut off")) == (0, 2), shown.stdout  # when it ended, and in the table
    assert "cut off" in (cli.folder / "transcripts" / "summary.html").read_text("utf-8")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_stops_at_once_and_goes_on_later(cli: Cli, number: signal.Signals) -> None:
    said = [write_audio(cli.folder / "in" / f"{n}.wav", duration_s=12, seed=n) for n in range(3)]
    arguments = ("run", "in", "--speed", "4", "--sessions", "2")
    process = cli.start(*arguments)
    until_running(cli, process, jobs=3)  # so one is done
    process.send_signal(number)
    started = time.monotonic()
    out, err = process.communicate(timeout=10)
    assert time.monotonic() - started < 2
    assert process.returncode == 128 + number
    assert "goes on from here" in err
    assert "Traceback" not in out + err
    assert "not done" in out
    cli.assert_nothing_left(timeout_s=0.5)

    rest = cli.json(*arguments)
    assert (rest["done"], rest["failed"]) == (3, 0)
    assert rest["skipped"] >= 1
    for index, words in enumerate(said):
        assert words_of(cli.folder / "transcripts" / f"{index}.json") == words


def test_a_killed_run_leaves_nothing_behind_and_goes_on_later(cli: Cli) -> None:
    words = write_audio(cli.folder / "in" / "a.wav", duration_s=20, seed=7)
    process = cli.start("run", "in", "--speed", "2")
    until_running(cli, process)
    assert len(cli.processes()) >= 7  # the command, three guards, three processes
    process.kill()
    process.communicate(timeout=10)
    rest = cli.json("run", "in")  # at once: it waits for the lock
    assert (rest["done"], rest["skipped"]) == (1, 0)
    assert words_of(cli.folder / "transcripts" / "a.json") == words
    cli.assert_nothing_left()


def test_a_process_of_the_stack_that_dies_ends_the_run_with_its_reason(cli: Cli) -> None:
    write_audio(cli.folder / "in" / "a.wav", duration_s=20)
    process = cli.start("run", "in", "--speed", "1")
    until_running(cli, process)
    (worker,) = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "worker" in child.cmdline() and not any("guard.py" in part for part in child.cmdline())
    ]
    worker.kill()
    out, err = process.communicate(timeout=15)
    assert process.returncode == 1
    assert "the worker process ended by itself" in err
    assert "job begins" in err  # the end of its log
    assert "Traceback" not in out + err
    cli.assert_nothing_left(timeout_s=1)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(cli: Cli) -> None:
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


def test_a_service_that_cannot_start_is_told_and_nothing_is_left(cli: Cli) -> None:
    write_audio(cli.folder / "a.wav")
    done = cli.run("run", "a.wav", STT_SERVER_RECOGNIZER="no.such.module:load")
    assert done.returncode == 1
    assert "no.such.module" in done.stderr
    cli.assert_nothing_left(timeout_s=1)


def test_two_runs_in_one_folder_do_not_mix(cli: Cli) -> None:
    write_audio(cli.folder / "in" / "a.wav", duration_s=30)
    first = cli.start("run", "in", "--speed", "1")
    until_running(cli, first)
    second = cli.run("run", "in")
    assert second.returncode == 1
    assert f"another run (process {first.pid})" in second.stderr
    assert "--out" in second.stderr
    assert first.poll() is None


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


def test_another_service_with_a_url_and_a_key(cli: Cli) -> None:

    words = write_audio(cli.folder / "a.wav")
    port = free_port()
    server = cli.start("server", "--port", str(port), "--ready-file", "ready", STT_SERVER_API_KEYS="right")
    wait_until((cli.folder / "ready").exists, "the server is ready", timeout_s=30)
    (cli.folder / "key").write_text("right\n")
    url = f"http://127.0.0.1:{port}"
    done = cli.json("run", "a.wav", "--url", url, "--api-key-file", "key", "--speed", "max")
    assert done["failed"] == 0
    assert words_of(cli.folder / "transcripts" / "a.json") == words
    assert not (cli.folder / "transcripts" / ".stt-batch" / "server.log").exists()

    refused = cli.run("run", "a.wav", "--force", STT_URL=url, STT_API_KEY="wrong-key")
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"error: API key refused by {url} (HTTP 401)")
    assert "wrong-key" not in refused.stderr + refused.stdout + cli.log("worker")
    server.send_signal(signal.SIGTERM)
    assert server.wait(5) == 0


def test_the_library_of_commands_explains_itself(cli: Cli) -> None:
    version = cli.run("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("stt-batch")
    for command in (
        *("run", "submit", "watch", "plan", "status", "list", "cancel", "pause", "resume", "retry", "export"),
        *("worker", "server"),
    ):
        text = cli.run(command, "--help").stdout
        assert "Examples:" in text
        assert f"stt-batch {command}" in text


def test_submit_worker_and_status_together(cli: Cli, redis_url: str) -> None:

    said = {name: write_audio(cli.folder / "in" / f"{name}.wav", seed=len(name)) for name in ("one", "three")}
    (cli.folder / "in" / "bad.wav").write_bytes(b"nothing")
    port = free_port()
    service = {"STT_URL": f"http://127.0.0.1:{port}", "STT_API_KEY": "k", "STT_REDIS_URL": redis_url}
    cli.start("server", "--port", str(port), **service)
    cli.start("worker", "--sessions", "2", "--speed", "max", **service)

    queued = cli.json("submit", "in", "--out", "results", "--batch", "monday", **service)
    assert queued["batch"] == "monday"
    assert len(queued["jobs"]) == 3
    wait_until(
        lambda: set(cli.json("status", "monday", **service)["counts"]) <= {"done", "failed"}, "the batch ends", 60
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
