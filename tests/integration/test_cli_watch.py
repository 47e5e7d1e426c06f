"""`stt-batch watch` with real files that arrive in a folder, a real worker, and restarts of the watch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.command_line import words_of, write_audio
from tests.support.fleet import Fleet, environment
from tests.support.forked_process import ForkedProcess, start_process
from tests.support.wait import wait_until


class Watching:
    """Runs watch processes on a folder, one after the other, and collects the events of all of them."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self.folder, self.out = folder / "inbox", folder / "out"
        self.folder.mkdir()
        self._log = folder / "events.jsonl"
        self._errors = folder / "watch.log"
        self._ready = folder / "watch.ready"
        self._environ = environment(STT_REDIS_URL=redis_url)
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None

    def start(self, *more: str, forked: bool = True) -> None:
        """Start a watch process. `forked`: fork the process of the test, which saves the time of the imports."""
        self._ready.unlink(missing_ok=True)
        command = ["tasks.cli", "watch", str(self.folder), "--out", str(self.out)]
        command += ["--settle", "0.4", "--json", "--format", "json,srt", "--ready-file", str(self._ready), *more]
        if forked:
            self.process = start_process(*command, env=self._environ, log=self._log, errors=self._errors)
        else:
            with self._log.open("ab") as log, self._errors.open("ab") as errors:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", *command], env=self._environ, stdout=log, stderr=errors
                )
        wait_until(self._ready.exists, "the watch is up", timeout_s=60)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        events = [json.loads(line) for line in lines]
        return [event for event in events if not name or event["event"] == name]

    def names(self, event: str) -> list[str]:
        return sorted(str(Path(one["source"]).relative_to(self.folder)) for one in self.events(event))

    def until(self, event: str, *names: str) -> None:
        wait_until(lambda: self.names(event) == sorted(names), f"{event}: {names}", timeout_s=60, poll_s=0.05)

    def end(self, number: signal.Signals = signal.SIGTERM) -> dict[str, Any]:
        assert self.process is not None
        self.process.send_signal(number)
        assert self.process.wait(30) == 0, self.errors
        last = self.events()[-1]
        assert last["event"] == "stopped"
        return last

    @property
    def errors(self) -> str:
        return self._errors.read_text()


@pytest.fixture
def watching(tmp_path: Path, redis_url: str) -> Iterator[Watching]:
    watching = Watching(tmp_path, redis_url)
    yield watching
    if watching.process is not None and watching.process.poll() is None:
        watching.process.kill()
        watching.process.wait(10)
    assert "Traceback" not in watching.errors


def test_arriving_files_are_transcribed_and_a_restart_repeats_none(
    watching: Watching, fleet: Fleet, raw: redis.Redis
) -> None:
    fleet.start()
    said = {"early.wav": write_audio(watching.folder / "early.wav", seed=1)}
    watching.start(forked=False)
    watching.until("done", "early.wav")
    said["deep/er/late.flac"] = write_audio(watching.folder / "deep" / "er" / "late.flac", seed=2)
    (watching.folder / "notes.txt").write_text("no audio")
    (watching.folder / "broken.wav").write_bytes(b"nothing that sounds")
    (watching.folder / ".hidden.wav").write_bytes(b"x")
    watching.until("done", "early.wav", "deep/er/late.flac")
    watching.until("failed", "broken.wav")
    for name, words in said.items():
        assert words_of(watching.out / f"{name}.json") == words
        assert (watching.out / f"{name}.srt").exists()
    # The next scan of the whole folder reports the hidden file.
    assert {"notes.txt"} <= set(watching.names("left out")) <= {"notes.txt", ".hidden.wav"}
    assert not watching.names("skipped")
    (failed,) = watching.events("failed")
    assert failed["error_code"].startswith("source_")
    last = watching.end(signal.SIGINT)
    assert (last["done"], last["open"]) == (2, 0)
    assert list(last["failed"]) == [str(watching.folder / "broken.wav")]

    # A second run, and a third one after Redis has lost its data: the existing transcripts show that the files are
    # done.
    stamps = {path: path.stat().st_mtime_ns for path in watching.out.rglob("*.*")}
    watching.start()
    watching.until("skipped", "early.wav", "deep/er/late.flac")
    watching.until("failed", "broken.wav", "broken.wav")  # it is reported again, not transcribed again
    assert watching.names("queued") == ["broken.wav", "deep/er/late.flac", "early.wav"]
    watching.end()
    fleet.until_acknowledged()
    raw.flushall()
    watching.start()
    watching.until("skipped", *["early.wav", "deep/er/late.flac"] * 2)
    watching.until("failed", *["broken.wav"] * 3)
    watching.end()
    assert {path: path.stat().st_mtime_ns for path in watching.out.rglob("*.*")} == stamps


def test_an_emptied_transcript_is_written_again_and_a_folder_with_its_name_is_reported(
    watching: Watching, fleet: Fleet
) -> None:
    fleet.start()
    words = write_audio(watching.folder / "a.wav", seed=1)
    write_audio(watching.folder / "b.wav", seed=2)
    (watching.out / "b.wav.srt").mkdir(parents=True)
    watching.start()
    watching.until("done", "a.wav")
    watching.until("failed", "b.wav")
    assert watching.names("queued") == ["a.wav"]
    (failed,) = watching.events("failed")
    assert failed["error_code"] == "output"
    assert "a folder has this name" in failed["error"]
    watching.end()

    (watching.out / "a.wav.json").write_bytes(b"")
    watching.start()
    watching.until("done", "a.wav", "a.wav")
    assert words_of(watching.out / "a.wav.json") == words
    watching.end()


def test_a_killed_watch_continues_and_a_file_is_queued_when_complete_and_again_when_replaced(
    watching: Watching, fleet: Fleet
) -> None:
    words = write_audio(watching.folder / "a.wav", seed=5)
    watching.start()
    watching.until("queued", "a.wav")  # no worker yet
    assert watching.process is not None
    watching.process.kill()
    watching.process.wait(10)
    watching.start("--settle", "1.5")
    watching.until("queued", "a.wav", "a.wav")
    fleet.start()
    watching.until("done", "a.wav")
    assert words_of(watching.out / "a.wav.json") == words
    (job,) = {event["id"] for event in watching.events("queued")}
    assert fleet.raw.zrange("stt:jobs", 0, -1) == [job]

    words = write_audio(watching.folder.parent / "whole.wav", duration_s=6, seed=3)
    data = (watching.folder.parent / "whole.wav").read_bytes()
    target = watching.folder / "call.wav"
    before = len(watching.events())
    with target.open("wb") as file:
        for part in range(8):  # for longer than a file has to be unchanged
            file.write(data[len(data) * part // 8 : len(data) * (part + 1) // 8])
            file.flush()
            size = target.stat().st_size
            ticks = iter(range(20))
            wait_until(lambda ticks=ticks: next(ticks, None) is None, "a fifth of a second", poll_s=0.01)
            assert target.stat().st_size == size
            assert len(watching.events()) == before
    watching.until("done", "a.wav", "call.wav")
    assert words_of(watching.out / "call.wav.json") == words

    other = write_audio(watching.folder.parent / "other.wav", seed=4)
    (watching.folder.parent / "other.wav").replace(target)
    watching.until("done", "a.wav", "call.wav", "call.wav")
    assert words_of(watching.out / "call.wav.json") == other
    assert watching.end()["done"] == 3


def test_without_redis_it_waits_and_reports_this(watching: Watching) -> None:
    watching._environ["STT_REDIS_URL"] = "redis://127.0.0.1:1/0"
    write_audio(watching.folder / "a.wav", seed=5)
    watching.start()
    wait_until(lambda: "waiting   Redis at" in watching.errors, "it says that Redis is away", timeout_s=60)
    assert watching.end()["open"] == 0


def test_media_files_left_out_are_reported_with_the_reason(watching: Watching) -> None:
    write_audio(watching.folder / "x.wav", seed=5)
    (watching.folder / "x.wav").rename(watching.folder / "rec.dat")
    for place in (".a.wav", ".trash/b.flac"):
        path = watching.folder / place
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    watching.start()
    watching.until("left out", "rec.dat", ".a.wav", ".trash/b.flac")
    reasons = {event["source"].rpartition("/")[2]: event["error"] for event in watching.events("left out")}
    assert reasons["rec.dat"].endswith(
        "but its ending .dat is not that of an audio file; name the file itself, or rename it"
    )
    assert reasons[".a.wav"] == "is hidden: its name begins with a dot"
    assert reasons["b.flac"] == "is in the hidden folder .trash"
    assert watching.end()["open"] == 0


def test_after_a_restart_only_changed_files_are_read_again(watching: Watching, raw: redis.Redis) -> None:
    path = watching.folder / "a.wav"
    write_audio(path, seed=6)
    Path(os.fsdecode(os.fsencode(watching.folder) + b"/caf\xe9.wav")).write_bytes(path.read_bytes())
    watching.start()
    watching.until("queued", "a.wav")
    watching.until("failed", "caf\\udce9.wav")  # the name is no UTF-8
    watching.end()
    before = path.stat()
    with path.open("r+b") as file:  # only the change time shows it, which no program can set back
        file.seek(-2, 2)
        file.write(b"\x01\x02")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    watching.start()
    watching.until("queued", "a.wav", "a.wav")
    watching.end()
    path.touch()
    watching.start()
    watching.until("queued", "a.wav", "a.wav", "a.wav")
    watching.end()
    first, second, third = (event["id"] for event in watching.events("queued"))
    assert first != second == third
    assert all(raw.ttl(key) > 0 for key in raw.scan_iter("stt:content:*"))
