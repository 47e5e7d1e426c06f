"""Messages of decoders about damaged files never reach standard error."""

from __future__ import annotations

import ctypes
import os
import random
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile

from worker.audio.decoding.decode import open_source
from worker.audio.decoding.decoder_notes import without_decoder_notes
from worker.errors import SourceError

RATE = 16_000
DAMAGE = ("noise", "cut", "missing middle", "broken tag", "broken header")
glibc = pytest.mark.skipif(sys.platform != "linux", reason="prints through the C library of Linux")


def damaged(data: bytes, damage: str) -> bytes:
    chance = random.Random(damage)
    if damage == "cut":
        return data[: len(data) // 2]
    if damage == "missing middle":
        return data[: len(data) // 3] + data[len(data) // 2 :]
    if damage == "broken tag":
        return b"ID3\x04\x00\x00\x00\x00\x00\x20COMM\x00\x00\x00\x02\x00\x00\x03a" + bytes(40) + data
    spoilt = bytearray(data)
    for _ in range(20):
        at = chance.randrange(0 if damage == "broken header" else 200, len(data))
        spoilt[at : at + 50] = chance.randbytes(50)
    return bytes(spoilt)


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("form", ["MP3", "FLAC", "OGG", "WAV"])
def test_a_damaged_file_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], form: str, damage: str
) -> None:
    file = tmp_path / f"call.{form.lower()}"
    noise = np.random.default_rng(0).normal(size=3 * RATE) * 0.1
    soundfile.write(file, noise, RATE, format=form)
    file.write_bytes(damaged(file.read_bytes(), damage))
    try:
        with closing(open_source(file)) as source:
            for _ in source.blocks():
                pass
    except SourceError:
        pass  # what is said of such files is the subject of test_damaged
    assert capfd.readouterr() == ("", "")


def c_print(text: str) -> None:
    libc = ctypes.CDLL(None)
    stream = ctypes.c_void_p.in_dll(libc, "stderr")
    libc.fputs(text.encode(), stream)
    libc.fflush(stream)


@glibc
def test_only_decoder_output_is_dropped(capfd: pytest.CaptureFixture[str]) -> None:
    c_print("before\n")
    with without_decoder_notes():
        c_print("note\n")
        with without_decoder_notes():
            c_print("note\n")
        c_print("note\n")
        os.write(2, b"abort\n")
        sys.stderr.write("error\n")
    c_print("after\n")
    assert sorted(capfd.readouterr().err.split()) == ["abort", "after", "before", "error"]


@glibc
def test_the_last_thread_to_finish_restores_the_output(capfd: pytest.CaptureFixture[str]) -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with without_decoder_notes():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with without_decoder_notes():
        thread.start()
        assert inside.wait(10)
    c_print("note\n")
    leave.set()
    thread.join()
    c_print("after\n")
    assert capfd.readouterr().err == "after\n"
