"""Descriptors of a source: none is closed twice, whatever libsndfile does, and none remains open."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.support.mediafiles import MEDIA, write_media
from worker.audio.decoding import libsndfile
from worker.audio.decoding.decode import open_source
from worker.errors import SourceError, WorkerShortage


def open_descriptors() -> list[str]:
    return sorted(str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.exists())


@pytest.fixture
def audio(tmp_path: Path) -> Path:
    path = tmp_path / "a.flac"
    soundfile.write(path, np.zeros(16_000), 16_000)
    open_source(path).close()  # the first source of a process opens descriptors that stay
    return path


def test_a_descriptor_that_libsndfile_closed_is_not_closed_again(audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """libsndfile 1.2.0, which Debian 12 has, closes it even with `closefd=False`."""

    class Closing:
        def __init__(self, file: int, **_options: Any) -> None:
            os.close(file)
            raise soundfile.LibsndfileError(1)

    audio.write_bytes(b"no audio")
    before = open_descriptors()
    monkeypatch.setattr(libsndfile, "_Reader", Closing)
    with pytest.raises(SourceError, match=r"a\.flac"):
        open_source(audio)
    assert open_descriptors() == before


def test_an_open_source_has_two_descriptors_and_a_closed_one_none(audio: Path) -> None:
    before = open_descriptors()
    source = open_source(audio)
    assert len(open_descriptors()) == len(before) + 2  # of the opened file, and of libsndfile
    source.close()
    del source
    assert open_descriptors() == before


@pytest.mark.parametrize("damaged", [False, True])
def test_a_media_file_that_was_checked_and_closed_has_no_descriptors(tmp_path: Path, damaged: bool) -> None:
    media = next(media for media in MEDIA if media.name == "m4a-aac")
    path = write_media(tmp_path / "a.m4a", np.zeros(88200, np.float32), media)
    if damaged:
        data = path.read_bytes()
        at = data.index(b"mdat") + 4
        path.write_bytes(data[:at] + bytes(200) + data[at + 200 :])
    open_source(path).close()
    before = open_descriptors()
    source = open_source(path)
    assert len(open_descriptors()) == len(before) + 1  # the container is opened again when it is read
    source.close()
    del source
    assert open_descriptors() == before


def test_too_few_descriptors_are_a_shortage_of_the_worker(audio: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_descriptor: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    before = open_descriptors()
    monkeypatch.setattr(libsndfile.os, "dup", none_left)
    with pytest.raises(WorkerShortage):
        open_source(audio)
    monkeypatch.undo()
    assert open_descriptors() == before
