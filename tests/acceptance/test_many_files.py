"""A folder of many files of all kinds through `stt-batch run`. Twenty files are broken in different ways. The run is
interrupted with Ctrl-C and continued with the same command, and repaired files are tried again."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.audiofiles import (
    AIFF,
    ALAW,
    AU,
    CAF,
    FLAC,
    FLAC_24,
    MP3,
    MULAW,
    OPUS,
    VORBIS,
    W64,
    WAV,
    WAV_24,
    WAV_FLOAT,
    write_words,
)
from tests.support.broken import BROKEN as ALL_BROKEN
from tests.support.command_line import Cli, cli, words_of
from tests.support.tones import speech
from tests.support.wait import wait_until

__all__ = ["cli"]  # a fixture
CODINGS = (WAV, FLAC, MP3, VORBIS, OPUS, AIFF, AU, CAF, W64, WAV_24, WAV_FLOAT, MULAW, ALAW, FLAC_24)
LEFT_OUT = {"gone.wav", "pipe.wav"}
"""The folder walk reports these entries, which are not files, and creates no jobs for them."""
BROKEN = [broken for broken in ALL_BROKEN if broken.name not in LEFT_OUT]
MENDED = 5
MB = 1 << 20


def write_all(folder: Path, good: int) -> dict[str, list[str]]:
    """Write files with all codecs, rates and channel counts to several folders. Returns the words by transcript."""
    said = {}
    for number in range(good):
        coding = CODINGS[number % len(CODINGS)]
        words = list(speech(1.5 + number % 4, seed=1000 + number))
        name = f"{'abcde'[number % 5]}/{number:03}"
        rate = coding.rates[number // 3 % len(coding.rates)]
        channels = 1 + number % min(3, coding.max_channels)
        write_words(folder / f"{name}.{coding.ending}", words, rate, coding, channels)
        said[name] = [word.text for word in words]
    for broken in ALL_BROKEN:
        broken.write(folder / broken.name)
    return said


@contextmanager
def peak_of(process: subprocess.Popen[str]) -> Iterator[Counter[str]]:
    """Return the peak memory of all processes of a run together, in bytes."""
    peak: Counter[str] = Counter()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.25):
            total = 0
            try:
                for one in (psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)):
                    total += one.memory_info().rss
            except psutil.Error:
                continue
            peak["bytes"] = max(peak["bytes"], total)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


class Worked:
    """The jobs that started and the jobs that were done in each run, from the logs of the workers."""

    def __init__(self) -> None:
        self.begun: list[Counter[str]] = []
        self.done: list[Counter[str]] = []

    def read(self, cli: Cli) -> None:
        events = [json.loads(line) for line in cli.log("worker").splitlines() if line.startswith("{")]
        self.begun.append(Counter(e["job"] for e in events if e["event"] == "job started"))
        self.done.append(Counter(e["job"] for e in events if e["event"] == "job done"))

    def assert_nothing_twice(self) -> None:
        together = sum(self.done, Counter())
        assert together
        assert [job for job, count in together.items() if count > 1] == []
        for run, done in enumerate(self.done):
            for later in self.begun[run + 1 :]:
                assert not set(done) & set(later), "a job that was done began again"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("good", "speed", "stops"),
    [
        pytest.param(20, "6", (0.4,), id="short", marks=pytest.mark.chaos),
        pytest.param(480, "max", (0.2, 0.55), id="whole", marks=pytest.mark.chaos),
    ],
)
def test_an_interrupted_run_of_many_files_continues(
    cli: Cli, good: int, speed: str, stops: Sequence[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """`stops`: for each Ctrl-C, the share (0 to 1) of the valid files that is done at that time."""
    said = write_all(cli.folder / "in", good)
    out = cli.folder / "transcripts"
    arguments = ("run", "in", "--format", "json", "--speed", speed)
    environment = {"STT_LOG_FORMAT": "json"}
    worked, stamps, started, peaks = Worked(), dict[Path, int](), time.monotonic(), []

    def written() -> list[Path]:
        return [path for path in out.rglob("*.json") if path.parent != out and ".stt-batch" not in path.parts]

    for share in stops:
        process = cli.start(*arguments, **environment)
        with peak_of(process) as peak:
            wait_until(
                lambda process=process, share=share: process.poll() is not None or len(written()) >= share * good,
                "a part is done",
                timeout_s=400,
                poll_s=0.05,
            )
            process.send_signal(signal.SIGINT)
            told, errors = process.communicate(timeout=20)
        assert process.returncode == 130, told + errors
        assert "Traceback" not in told + errors
        peaks.append(peak["bytes"])
        worked.read(cli)
        assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
        stamps = {path: path.stat().st_mtime_ns for path in written()}
    assert len(stamps) < good, "the last Ctrl-C came too late"

    process = cli.start(*arguments, "--json", **environment)
    with peak_of(process) as peak:
        told, errors = process.communicate(timeout=800)
    peaks.append(peak["bytes"])
    took_s = time.monotonic() - started
    worked.read(cli)
    end = json.loads(told)
    assert (end["total"], end["done"], end["failed"], end["incomplete"]) == (good + len(BROKEN), good, len(BROKEN), 0)
    assert {Path(one["source"]).name for one in end["left_out"]} == LEFT_OUT
    assert process.returncode == 1
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    worked.assert_nothing_twice()
    for name, words in said.items():
        assert words_of(out / f"{name}.json") == words, name
    assert_right_reasons(end["jobs"])
    summary = json.loads((out / "summary.json").read_text("utf-8"))
    assert summary["counts"] == {"done": good, "failed": len(BROKEN)}
    assert sum(group["count"] for group in summary["failures"]) == len(BROKEN)

    # One command retries the failed files, some of which have been repaired.
    for number, broken in enumerate(BROKEN[:MENDED]):
        words = list(speech(2.0, seed=5000 + number))
        (cli.folder / "in" / broken.name).unlink()
        write_words(cli.folder / "in" / broken.name, words, 16000, WAV)
    again = cli.json(*arguments, **environment)
    assert (again["done"], again["failed"]) == (good + MENDED, len(BROKEN) - MENDED)
    assert again["skipped"] == good
    with capsys.disabled():
        files, memory = good + len(BROKEN), f"{max(peaks) / MB:.0f} MB peak memory of all processes"
        sys.stdout.write(f"\n{files} files, interrupted {len(stops)} times: {took_s:.0f} s, {memory}\n")
    assert max(peaks) < 1200 * MB


def assert_right_reasons(jobs: list[dict[str, Any]]) -> None:
    failed = {Path(job["source"]).name: job for job in jobs if job["state"] == "failed"}
    assert sorted(failed) == sorted(broken.name for broken in BROKEN)
    for broken in BROKEN:
        job = failed[broken.name]
        assert job["error_code"] in broken.codes, job
        assert re.search(broken.reason, job["error"]), job
