"""The scan of a folder reports every media file that is not transcribed, with the reason."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tasks.cli.sources import find_recordings
from tasks.cli.sources.expand_arguments import sources
from tasks.cli.sources.find_recordings import LeftOutFile, scan_folder
from tests.support.audiofiles import FLAC, MP3, WAV, Coding, write_signal
from tests.support.trackfiles import RATE, TRACK_FILES, write_tracks
from worker.settings import load

TONE = np.sin(np.arange(16000) / 20).astype(np.float32) * 0.5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "calls"
    folder.mkdir()
    write_signal(folder / "a.wav", TONE, 16000, WAV)
    return folder


def looked(folder: Path, *, media: bool = True) -> tuple[list[str], dict[str, str]]:
    items = list(scan_folder(folder, media=media))
    taken = [item.relative_to(folder).as_posix() for item in items if isinstance(item, Path)]
    return taken, {
        Path(item.source).relative_to(folder).as_posix(): item.reason for item in items if isinstance(item, LeftOutFile)
    }


UNUSUAL = "mxf mts m2ts vob 3gp mka opus spx oga wv tta ape dsf au caf w64 rf64 amr gsm m4b wma nut gxf aifc"


@pytest.mark.parametrize("ending", UNUSUAL.split())
def test_recordings_with_unusual_endings_are_taken(folder: Path, ending: str) -> None:
    (folder / f"b.{ending.upper()}").write_bytes(b"\x01\x02\x03")
    assert looked(folder)[0] == ["a.wav", f"b.{ending.upper()}"]


def test_files_without_media_are_ignored_silently(folder: Path) -> None:
    (folder / "notes.txt").write_text("hello")
    (folder / "letter").write_text("hello " * 1000)
    (folder / "empty.dat").touch()
    (folder / "noise.bin").write_bytes(os.urandom(5000))
    (folder / "app.ts").write_text("export const answer: number = 42;\n")
    (folder / "._a.wav").write_bytes(b"\x00\x05\x16\x07" + bytes(100))
    assert looked(folder) == (["a.wav"], {})


def test_audio_with_the_ending_of_another_format_is_reported(folder: Path) -> None:
    for coding, name in ((WAV, "b.dat"), (FLAC, "rec0001"), (MP3, "c.BAK")):
        path = write_signal(folder / f"x.{coding.ending}", TONE, 16000, coding)
        path.rename(folder / name)
    write_tracks(folder / "film.orig", [TONE], next(kind for kind in TRACK_FILES if kind.ending == "mp4"))
    taken, passed = looked(folder)
    assert taken == ["a.wav"]
    assert set(passed) == {"b.dat", "rec0001", "c.BAK", "film.orig"}
    assert passed["b.dat"].startswith("contains ")
    assert passed["b.dat"].endswith(
        "but its ending .dat is not that of an audio file; name the file itself, or rename it"
    )
    assert "but its name has no ending" in passed["rec0001"]


@pytest.mark.parametrize("ending", ["txt", "json", "log", "tmp", "zip", "PDF", "srt"])
@pytest.mark.parametrize("coding", [WAV, FLAC, MP3], ids=str)
def test_audio_with_the_ending_of_a_document_is_reported(folder: Path, ending: str, coding: Coding) -> None:
    write_signal(folder / f"x.{coding.ending}", TONE, 16000, coding).rename(folder / f"b.{ending}")
    _, passed = looked(folder)
    assert "but its ending" in passed[f"b.{ending}"]


@pytest.mark.parametrize("ending", ["part", "crdownload"])
def test_an_unfinished_download_is_ignored_silently(folder: Path, ending: str) -> None:
    write_signal(folder / "x.wav", TONE, 16000, WAV).rename(folder / f"b.wav.{ending}")
    assert looked(folder) == (["a.wav"], {})


@pytest.mark.parametrize("content", ["hello", "RIFF of a guitar", "ID3 is a tag", "\ufeffText of Windows"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_a_document_that_only_begins_like_audio_is_ignored(folder: Path, content: str, coding: str) -> None:
    (folder / "b.txt").write_text(content * 100, encoding=coding)
    assert looked(folder) == (["a.wav"], {})


def test_a_transport_stream_is_not_typescript(folder: Path) -> None:
    kind = next(kind for kind in TRACK_FILES if kind.ending == "ts")
    write_tracks(folder / "b.ts", [TONE[:RATE]], kind)
    (folder / "cut.ts").write_bytes((folder / "b.ts").read_bytes()[77:])
    assert looked(folder)[0] == ["a.wav", "b.ts", "cut.ts"]


def test_hidden_recordings_are_reported(folder: Path) -> None:
    (folder / ".trash" / "deep").mkdir(parents=True)
    shutil.copy(folder / "a.wav", folder / ".b.wav")
    shutil.copy(folder / "a.wav", folder / "._b.wav")
    shutil.copy(folder / "a.wav", folder / ".trash/deep/c.wav")
    (folder / ".trash/notes.txt").touch()
    assert looked(folder) == (
        ["a.wav"],
        {
            ".b.wav": "is hidden: its name begins with a dot",
            "._b.wav": "is hidden: its name begins with a dot",
            ".trash/deep/c.wav": "is in the hidden folder .trash",
        },
    )


def test_links_are_followed_to_files_but_not_to_folders_outside(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "other"
    outside.mkdir()
    shutil.copy(folder / "a.wav", outside / "b.wav")
    (folder / "far").symlink_to(outside)
    (folder / "near").mkdir()
    (folder / "again").symlink_to(folder / "near")
    (folder / "link.wav").symlink_to(outside / "b.wav")
    (folder / "lost.wav").symlink_to(outside / "none.wav")
    taken, passed = looked(folder)
    assert taken == ["a.wav", "link.wav"]
    assert passed == {
        "far": f"is a link to a folder outside, which is not followed; add {outside} to the command",
        "lost.wav": "is a broken link",
    }


async def test_a_link_to_a_recording_of_the_folder_is_left_out(folder: Path) -> None:
    """In every order of the names, and through a folder above; but not if the recording is not found under its own
    name: hidden, as in git-annex, or without the ending of a recording."""
    (folder / "below").mkdir()
    for name, target in {
        "0.wav": "a.wav",
        "z.wav": "a.wav",
        "below/up.wav": "../a.wav",
        "annexed.wav": ".git/annex/key.wav",
        "bare.wav": "recording",
    }.items():
        (folder / name).symlink_to(target)
    (folder / ".git/annex").mkdir(parents=True)
    shutil.copy(folder / "a.wav", folder / ".git/annex/key.wav")
    shutil.copy(folder / "a.wav", folder / "recording")
    listing = await sources([str(folder)], load({}), media=True)
    assert [Path(one.source.text).name for one in listing.found] == ["a.wav", "annexed.wav", "bare.wav"]
    links = {Path(one.source).name: one.reason for one in listing.left_out if "link" in one.reason}
    assert set(links) == {"0.wav", "z.wav", "up.wav"}
    assert set(links.values()) == {f"is a link to {folder / 'a.wav'}, which is transcribed itself"}


def test_special_files_are_listed(folder: Path) -> None:
    os.mkfifo(folder / "pipe.wav")
    assert looked(folder) == (["a.wav"], {"pipe.wav": "is not a regular file"})


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_folder_is_reported(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0)
    assert looked(folder)[1] == {"locked": "is a folder that cannot be read: Permission denied"}


def test_files_that_need_the_missing_extra_are_reported(folder: Path) -> None:
    (folder / "b.m4a").touch()
    assert looked(folder, media=False) == (["a.wav"], {"b.m4a": find_recordings.NEEDS_MEDIA})


def test_a_few_are_shown_and_all_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    many = [LeftOutFile(f"/calls/{number}.dat", "holds WAV") for number in range(8)]
    find_recordings.print_left_out(many, everything=False)
    find_recordings.print_left_out_count(many, everything=False)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:5] == [f"left out: /calls/{number}.dat: holds WAV" for number in range(5)]
    assert lines[5:] == [
        "left out: 3 more media files; --left-out lists them",
        "8 media files were left out; --left-out lists all with the reasons",
    ]
    find_recordings.print_left_out(many, everything=True)
    assert len(capsys.readouterr().err.splitlines()) == 8
    find_recordings.print_left_out_count([], everything=False)
    assert capsys.readouterr().err == ""
