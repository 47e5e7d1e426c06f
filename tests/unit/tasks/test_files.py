"""Which files are found, and that every one gets a name of its own."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cli.files import Found, find, name_outputs
from worker.errors import BadJob

FORMATS = ("json", "srt", "vtt", "txt")


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names(root: Path, *arguments: str, out: str = "out") -> dict[str, str]:
    found, _ = find([root / argument for argument in arguments])
    planned = name_outputs(found, root / out, FORMATS)
    return {str(item.source.relative_to(root)): item.out_name for item in planned}


def test_the_tree_is_mirrored(tmp_path: Path) -> None:
    make(tmp_path, "in/a.wav", "in/x/b.FLAC", "in/x/notes.txt", "in/.hidden/c.wav", "in/.d.wav", "in/e.mp4")
    assert names(tmp_path, "in") == {"in/a.wav": "a", "in/x/b.FLAC": "x/b"}
    assert find([tmp_path / "in"])[1] == [tmp_path / "in/e.mp4"]


def test_stems_that_clash_keep_their_endings(tmp_path: Path) -> None:
    make(tmp_path, "in/call.wav", "in/call.mp3", "in/CALL.ogg", "in/other.wav", "in/x/call.wav")
    assert names(tmp_path, "in") == {
        "in/call.wav": "call.wav",
        "in/call.mp3": "call.mp3",
        "in/CALL.ogg": "CALL.ogg",
        "in/other.wav": "other",
        "in/x/call.wav": "x/call",
    }


def test_a_clash_that_a_rename_makes_is_solved_too(tmp_path: Path) -> None:
    make(tmp_path, "in/a.wav", "in/a.mp3", "in/a.wav.flac")
    planned = names(tmp_path, "in")
    assert planned["in/a.mp3"] == "a.mp3"
    assert len({name.casefold() for name in planned.values()}) == 3


def test_the_same_name_under_two_arguments(tmp_path: Path) -> None:
    make(tmp_path, "mon/1.wav", "tue/1.wav", "tue/2.wav", "3.wav")
    assert names(tmp_path, "mon", "tue", "3.wav") == {
        "mon/1.wav": "mon/1.wav",
        "tue/1.wav": "tue/1.wav",
        "tue/2.wav": "2",
        "3.wav": "3",
    }


def test_a_file_given_twice_is_done_once(tmp_path: Path) -> None:
    make(tmp_path, "in/a.wav")
    (tmp_path / "in/link.wav").symlink_to("a.wav")
    assert names(tmp_path, "in", "in/a.wav", "in/../in/a.wav") == {"in/a.wav": "a"}


def test_sources_that_differ_in_case_only(tmp_path: Path) -> None:
    make(tmp_path, "in/call.wav", "in/Call.wav")
    assert names(tmp_path, "in") == {"in/call.wav": "call", "in/Call.wav": "Call"}


def test_never_over_a_source(tmp_path: Path) -> None:
    make(tmp_path, "speech.txt", "a.wav")
    assert names(tmp_path, "speech.txt", "a.wav", out=".") == {"speech.txt": "speech.txt", "a.wav": "a"}


def test_what_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "in/film.mp4")
    with pytest.raises(BadJob, match=r"no such file or folder: .*none"):
        find([tmp_path / "in", tmp_path / "none"])
    with pytest.raises(BadJob, match=r"no audio files in .*film\.mp4"):
        find([tmp_path / "in"])


_PART = st.sampled_from(["a", "A", "b", "a.wav", "a.json", "x"])
_PATH = st.lists(_PART, min_size=1, max_size=4)


@given(st.lists(st.tuples(_PATH, st.integers(1, 3)), min_size=1, max_size=12, unique_by=lambda item: tuple(item[0])))
def test_every_file_has_a_name_of_its_own(items: list[tuple[list[str], int]]) -> None:
    found = [
        Found(Path("/root", *parts[:-1], f"{parts[-1]}.wav"), PurePosixPath(*parts[-depth:-1], f"{parts[-1]}.wav"))
        for parts, depth in items
    ]
    planned = name_outputs(found, Path("/out"), FORMATS)
    assert [item.source for item in planned] == [item.source for item in found]
    folded = [item.out_name.casefold() for item in planned]
    assert len({item.out_name for item in planned}) == len(found)
    assert len(set(folded)) >= len({str(item.source).casefold() for item in found})
    assert not any(Path("/out", f"{name}.{fmt}") in {f.source for f in found} for name in folded for fmt in FORMATS)
    assert not any(name.startswith("/") or ".." in name.split("/") for name in folded)
