"""A source is opened once: every reader reads the opened file, even if its path changes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from tests.support.audiofiles import write_signal
from tests.support.mediafiles import MEDIA, write_media
from tests.support.sounds import noise
from worker.audio import opened_file
from worker.audio.decoding.decode import open_source
from worker.audio.opened_file import SourceFile
from worker.errors import SourceError, SourceNotFound, SourceRefused, WorkerShortage

CONTENT = bytes(range(256)) * 1000


def renamed(path: Path) -> None:
    path.rename(path.with_name("elsewhere.wav"))


def replaced(path: Path) -> None:
    other = path.with_name("other.wav")
    other.write_bytes(b"other")
    other.replace(path)


def made_unreadable(path: Path) -> None:
    path.chmod(0)


@pytest.fixture(params=["reopened", "pread"])
def no_proc(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs each test with /proc/self/fd and without it."""
    if request.param == "pread":
        monkeypatch.setattr(opened_file, "_reopened", lambda fd: None)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize("change", [Path.unlink, renamed, replaced, made_unreadable])
def test_readers_do_not_use_the_path(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(CONTENT)
    with SourceFile.at(path) as file:
        first = file.open()
        assert first.read(1000) == CONTENT[:1000]
        change(path)
        with file.open() as second:
            assert second.read() == CONTENT
        assert first.read() == CONTENT[1000:]
        first.seek(-4, os.SEEK_END)
        assert first.read() == CONTENT[-4:]
        first.close()
        assert file.stat().st_size == len(CONTENT)


@pytest.mark.usefixtures("no_proc")
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg"])
def test_audio_is_decoded_from_the_open_file(tmp_path: Path, name: str) -> None:
    path = write_signal(tmp_path / name, noise(3, -20), 16000)
    with open_source(path) as audio:
        expected = b"".join(block.tobytes() for block in audio.blocks())
    with SourceFile.at(path) as file:
        path.unlink()
        for _ in range(2):
            with open_source(file) as audio:
                assert b"".join(block.tobytes() for block in audio.blocks()) == expected


def test_special_files_are_refused_without_opening_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/proc/self/status")
    for path, error, reason in (
        (tmp_path / "pipe", SourceError, "not a regular file"),
        (Path("/dev/zero"), SourceError, "not a regular file"),
        (tmp_path, SourceError, "is a folder"),
        (tmp_path / "link", SourceRefused, "a file of the kernel"),
        (tmp_path / "none", SourceNotFound, "no such file"),
        (tmp_path / "pipe" / "below", SourceNotFound, "no such file"),
        (tmp_path / "a\0b", SourceError, "cannot be the name of a file"),
    ):
        with pytest.raises(error, match=reason):
            SourceFile.at(path)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE])
def test_a_shortage_while_opening_is_not_the_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = write_signal(tmp_path / "a.wav", noise(1), 16000)

    def fail(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with SourceFile.at(path) as file, monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        with pytest.raises(WorkerShortage, match=r"a\.wav: cannot be read now"):
            open_source(file)
        with pytest.raises(WorkerShortage, match=r"a\.wav: cannot be read now"):
            SourceFile.at(path)


def test_a_file_without_readers_is_closed(tmp_path: Path) -> None:
    path = write_signal(tmp_path / "a.wav", noise(1), 16000)
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(3):
        with open_source(path) as audio:
            list(audio.blocks())
        del audio
    assert len(set(os.listdir("/proc/self/fd")) - before) <= 1  # noqa: PTH208  the folder's own


def decode_all(file: SourceFile) -> None:
    with open_source(file) as audio:
        for _ in audio.blocks():
            pass


class FailingDisk:
    """A disk whose reads fail from one byte of the file on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, good_bytes: int) -> None:
        real = os.pread

        def pread(fd: int, count: int, at: int) -> bytes:
            if at + count > good_bytes:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(fd, count, at)

        monkeypatch.setattr(opened_file, "_reopened", lambda fd: None)
        monkeypatch.setattr(os, "pread", pread)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.mka"])
@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_failing_disk_is_not_reported_as_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, share: float
) -> None:
    signal = noise(20, -20)
    if name.endswith("mka"):
        path = write_media(tmp_path / name, signal, next(one for one in MEDIA if one.name == "mkv-flac"))
    else:
        path = write_signal(tmp_path / name, signal, 16000)
    with SourceFile.at(path) as file, monkeypatch.context() as patch:
        FailingDisk(patch, int(path.stat().st_size * share))
        with pytest.raises(WorkerShortage, match="the disk reports an input/output error"):
            decode_all(file)


def test_a_system_error_of_libsndfile_is_a_shortage_when_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_signal(tmp_path / "a.wav", noise(2, -20), 16000)
    system_error = soundfile.LibsndfileError(2)

    def fail(*_: object, **__: object) -> int:
        raise system_error

    with SourceFile.at(path) as file, open_source(file) as audio, monkeypatch.context() as patch:
        patch.setattr(soundfile.SoundFile, "buffer_read_into", fail)
        list(audio.blocks())
        assert any("damaged" in warning for warning in audio.warnings), "the disk works"
        FailingDisk(patch, 1000)
        with pytest.raises(WorkerShortage):
            list(audio.blocks())
