from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from tests.support.rendering import render
from tests.unit.transcript.build import segment, transcript
from worker.errors import OutputError
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.formats import FORMATS
from worker.transcript.subtitles.style import Style

SPOKEN = transcript(segment("Good morning.", 1.0, 2.0))


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir())


def test_writes_every_format_below_the_folder(tmp_path: Path) -> None:
    paths = write(SPOKEN, LocalOutputs(tmp_path / "new", "monday/call.wav", tuple(FORMATS)))
    assert paths == tuple(tmp_path / "new" / "monday" / f"call.wav.{fmt}" for fmt in FORMATS)
    assert all(path.read_text() == render(SPOKEN, fmt) for path, fmt in zip(paths, FORMATS, strict=True))
    assert len(files(tmp_path)) == len(FORMATS)


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    out = LocalOutputs(tmp_path, "call", ("json", "srt"))
    (tmp_path / "call.json").write_text("old and much longer than nothing")
    assert write(SPOKEN, out) == write(SPOKEN, out)
    assert files(tmp_path) == ["call.json", "call.srt"]
    assert (tmp_path / "call.json").read_text() == render(SPOKEN, "json")


def test_files_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        (path,) = write(SPOKEN, LocalOutputs(tmp_path, "call", ("txt",)))
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_json_is_written_last(tmp_path: Path) -> None:
    (tmp_path / "call.srt").mkdir()
    with pytest.raises(OutputError, match=r"call\.srt: a folder has this name; move it away"):
        write(SPOKEN, LocalOutputs(tmp_path, "call", ("json", "srt")))
    assert files(tmp_path) == []


def test_nothing_is_written_when_a_format_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no output format 'doc'"):
        write(SPOKEN, LocalOutputs(tmp_path, "call", ("srt", "doc")))
    assert files(tmp_path) == []


@pytest.mark.parametrize("name", ["", ".", "/etc/call", "../call", "a/../../call", "a\0b"])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match="must be a path inside the output folder"):
        write(SPOKEN, LocalOutputs(tmp_path / "out", name, ("json",)))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "way_out"),
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EACCES, "no permission to write there; choose another output folder"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EIO, "Input/output error"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failing_disk_is_reported_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, way_out: str, step: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "call.json").write_text("the one before")
    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OutputError, match=rf"cannot write {tmp_path}/call\.json: {way_out}"):
        write(SPOKEN, LocalOutputs(tmp_path, "call", ("json",)))
    assert files(tmp_path) == ["call.json"]
    assert (tmp_path / "call.json").read_text() == "the one before"


def test_an_interrupt_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(SPOKEN, LocalOutputs(tmp_path, "call", ("json",)))
    assert files(tmp_path) == []


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(
        OutputError, match="the name is too long for the file system; give the audio file a shorter name"
    ):
        write(SPOKEN, LocalOutputs(tmp_path, "x" * 252, ("json",)))
    assert files(tmp_path) == []


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(OutputError, match="a part of the path is a file, not a folder"):
        write(SPOKEN, LocalOutputs(tmp_path / "out", "call", ("json",)))
    with pytest.raises(OutputError, match="a part of the path is a file, not a folder"):
        write(SPOKEN, LocalOutputs(tmp_path / "out", "a/call", ("json",)))


def test_the_style_is_that_of_the_job(tmp_path: Path) -> None:
    (path,) = write(SPOKEN, LocalOutputs(tmp_path, "call", ("vtt",), Style(word_cues=True)))
    assert path.read_text() == render(SPOKEN, "vtt", Style(word_cues=True)) != render(SPOKEN, "vtt")
