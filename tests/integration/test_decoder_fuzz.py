"""Mutated files of every kind neither crash nor hang the decoder. If a file is refused, the error states the reason.

The default run is short. `pytest -m chaos tests/integration/test_decoder_fuzz.py` runs for STT_FUZZ_S seconds (default
180).
"""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import audiofiles, tones
from tests.support.audiofiles import write_signal
from tests.support.mediafiles import MEDIA, write_media

ROOT = Path(__file__).resolve().parents[2]
ANSWER_S = 30.0
CODINGS = [coding for coding in audiofiles.CODINGS if 16000 in coding.rates]


class Child:
    """The decoding process. It is started again after it has died."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.decoding_child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, args=(self._process, self._answers), daemon=True).start()

    @staticmethod
    def _read(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            answers.put(line.strip())
        answers.put("")

    def decode(self, path: Path) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        try:
            answer = self._answers.get(timeout=ANSWER_S)
        except queue.Empty:
            answer = f"bug no answer within {ANSWER_S:g} s"
        if not answer:
            answer = f"bug the process ended with {self._process.wait(10)}"
        if answer.startswith("bug no answer") or self._process.poll() is not None:
            self.close()
            self._start()
        return answer

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    running = Child()
    yield running
    running.close()


class Seeds(list[tuple[str, bytes]]):
    """A small file of every kind, as (ending, content)."""

    def __repr__(self) -> str:  # for the report of a failure
        return f"{len(self)} files"


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> Seeds:
    folder = tmp_path_factory.mktemp("seeds")
    words = list(tones.speech(1.5, 2))
    found = Seeds()
    for coding in CODINGS:
        path = write_signal(
            folder / f"{coding.name}.{coding.ending}", tones.encode(words, 16000, duration_s=2), 16000, coding
        )
        found.append((coding.ending, path.read_bytes()))
    for media in MEDIA:
        path = folder / f"{media.name}.{media.ending}"
        write_media(path, tones.encode(words, media.rate, duration_s=2), media)
        found.append((media.ending, path.read_bytes()))
    return found


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the file with a few random mutations: bytes changed (often in the header), removed, repeated or set to
    extreme values, or the end cut off."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 8))):
        if len(out) < 16:
            break
        reach = len(out) if rng.random() < 0.5 else min(len(out), 512)
        at = int(rng.integers(0, reach))
        length = int(rng.choice([1, 2, 4, 8, 64, 1024]))
        kind = int(rng.integers(0, 7))
        if kind == 0:
            out[at : at + length] = rng.bytes(min(length, len(out) - at))
        elif kind == 1:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 2:
            out[at : at + 4] = int(rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])).to_bytes(4, "little")
        elif kind == 3:
            del out[at : at + length]
        elif kind == 4:
            out[at:at] = out[at : at + length]
        elif kind == 5:
            out[at : at + length] = bytes(min(length, len(out) - at))
        elif rng.random() < 0.3:
            del out[max(16, at) :]
    return bytes(out)


def check(child: Child, seeds: Seeds, folder: Path, which: int, seed: int) -> str:
    ending, data = seeds[which % len(seeds)]
    path = folder / f"fuzz.{ending}"
    path.write_bytes(mutated(data, np.random.default_rng(seed)))
    answer = child.decode(path)
    assert not answer.startswith("bug"), f"{answer}: seed file {which % len(seeds)} ({ending}), mutation {seed}"
    return answer


def test_the_seeds_are_decoded(child: Child, seeds: Seeds, tmp_path: Path) -> None:
    for number, (ending, data) in enumerate(seeds):
        path = tmp_path / f"{number}.{ending}"
        path.write_bytes(data)
        answer = child.decode(path).split()
        assert answer[0] == "ok", (ending, answer)
        assert int(answer[1]) > 8000


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 999), seed=st.integers(0, 1 << 32))
def test_mutated_files(child: Child, seeds: Seeds, tmp_path: Path, which: int, seed: int) -> None:
    check(child, seeds, tmp_path, which, seed)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=3000), start=st.sampled_from([b"", b"RIFF", b"fLaC", b"OggS", b"ID3\x04", b"\xff\xfb\x90"])
)
def test_any_bytes(child: Child, tmp_path: Path, data: bytes, start: bytes) -> None:
    path = tmp_path / "any.bin"
    path.write_bytes(start + data)
    assert not child.decode(path).startswith("bug")


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_for_long(child: Child, seeds: Seeds, tmp_path: Path) -> None:
    until = time.monotonic() + float(os.environ.get("STT_FUZZ_S", "180"))
    seed, answers, bugs = int(time.time()) << 20, dict.fromkeys(("ok", "refused"), 0), []
    while time.monotonic() < until:
        seed += 1
        try:
            answers[check(child, seeds, tmp_path, seed, seed).split()[0]] += 1
        except AssertionError as exc:
            bugs.append(str(exc))
    assert not bugs, "\n".join(bugs[:50])
    assert all(answers.values()), answers
