"""Expansion of arguments to sources, and unique names for their transcripts."""

from __future__ import annotations

import asyncio
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.cli.sources.expand_arguments import Listing, sources
from tasks.cli.sources.output_names import name_outputs, named
from tasks.cli.sources.source_table import FoundSource, NamedSource, SourceTable
from worker.errors import BadJob
from worker.settings import load
from worker.storage.address import from_path

FORMATS = ("json", "srt", "vtt", "txt")


def make(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def listed(root: Path, *arguments: str, media: bool = False) -> Listing:
    return asyncio.run(sources([str(root / argument) for argument in arguments], load({}), media=media))


def named_sources(found: SourceTable, out: Path) -> list[NamedSource]:
    name_outputs(found, out, FORMATS)
    return list(named(found))


def names(root: Path, *arguments: str, out: str = "out") -> dict[str, str]:
    planned = named_sources(listed(root, *arguments).found, root / out)
    return {str(item.source.path.relative_to(root)): item.out_name for item in planned}


def test_the_tree_is_mirrored(tmp_path: Path) -> None:
    make(tmp_path, "in/a.wav", "in/x/b.FLAC", "in/x/notes.txt", "in/.hidden/c.wav", "in/.d.wav", "in/e.mp4")
    assert names(tmp_path, "in") == {"in/a.wav": "a", "in/x/b.FLAC": "x/b"}
    assert listed(tmp_path, "in").other == [str(tmp_path / "in/e.mp4")]
    assert [item.place.name for item in listed(tmp_path, "in", media=True).found] == ["a.wav", "e.mp4", "b.FLAC"]


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


def test_a_file_named_twice_is_transcribed_once(tmp_path: Path) -> None:
    make(tmp_path, "in/a.wav")
    (tmp_path / "in/link.wav").symlink_to("a.wav")
    assert names(tmp_path, "in", "in/a.wav", "in/../in/a.wav") == {"in/a.wav": "a"}


def test_sources_that_differ_in_case_only(tmp_path: Path) -> None:
    make(tmp_path, "in/call.wav", "in/Call.wav")
    assert names(tmp_path, "in") == {"in/call.wav": "call", "in/Call.wav": "Call"}


def test_no_output_replaces_a_source(tmp_path: Path) -> None:
    make(tmp_path, "speech.txt", "a.wav")
    assert names(tmp_path, "speech.txt", "a.wav", out=".") == {"speech.txt": "speech.txt", "a.wav": "a"}


def test_what_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "in/film.mp4")
    with pytest.raises(BadJob, match=r"no such file or folder: .*none"):
        listed(tmp_path, "in", "none")
    with pytest.raises(BadJob, match=r"no such file or folder: .*\*\.wav"):
        listed(tmp_path, "in/*.wav")
    with pytest.raises(BadJob, match=r"no audio files in .*film\.mp4"):
        listed(tmp_path, "in")


def test_patterns(tmp_path: Path) -> None:
    make(tmp_path, "in/a.wav", "in/x/b.wav", "in/x/c.flac", "in/x/y/d.wav", "in/.h/e.wav")
    assert names(tmp_path, "in/**/*.wav") == {"in/a.wav": "a", "in/x/b.wav": "x/b", "in/x/y/d.wav": "x/y/d"}
    assert names(tmp_path, "in/x/[bc].*") == {"in/x/b.wav": "b", "in/x/c.flac": "c"}
    make(tmp_path, "in/[1].wav")  # a file of that name is meant before a pattern
    assert names(tmp_path, "in/[1].wav") == {"in/[1].wav": "[1]"}


def test_a_manifest(tmp_path: Path) -> None:
    make(tmp_path, "lists/a.wav", "lists/b.wav", "lists/x/b.wav", "up.wav")
    (tmp_path / "lists/l.csv").write_text(
        "source,id,out_name\na.wav,call-1,\nb.wav,,b\nx/b.wav,,\n../up.wav,,\nhttps://h/c.mp3?sig=1,,\n"
    )
    found = listed(tmp_path, "lists/l.csv", "lists/x").found
    planned = {item.source.shown: item.out_name for item in named_sources(found, tmp_path / "out")}
    assert planned == {
        f"{tmp_path}/lists/a.wav": "a",
        f"{tmp_path}/lists/b.wav": "b",
        f"{tmp_path}/lists/x/b.wav": "x/b",
        f"{tmp_path}/up.wav": "up",
        "https://h/c.mp3?…": "c",
    }
    assert [item.id for item in found] == ["call-1", None, None, None, None]


def test_equal_output_names_in_a_manifest_are_refused(tmp_path: Path) -> None:
    make(tmp_path, "a.wav", "b.wav")
    (tmp_path / "l.jsonl").write_text('{"source": "a.wav", "out_name": "x"}\n{"source": "b.wav", "out_name": "X"}\n')
    with pytest.raises(BadJob, match="2 sources have the same out_name"):
        names(tmp_path, "l.jsonl")
    (tmp_path / "l.jsonl").write_text('{"source": "a.wav", "language": "en"}\n{"source": "a.wav", "language": "fr"}\n')
    with pytest.raises(BadJob, match="listed 2 times with different options; give each entry an out_name"):
        names(tmp_path, "l.jsonl")


_PART = st.sampled_from(["a", "A", "b", "a.wav", "a.json", "x"])
_PATH = st.lists(_PART, min_size=1, max_size=4)


@given(st.lists(st.tuples(_PATH, st.integers(1, 3)), min_size=1, max_size=12, unique_by=lambda item: tuple(item[0])))
def test_every_file_has_a_name_of_its_own(items: list[tuple[list[str], int]]) -> None:
    found = [
        FoundSource(
            from_path(Path("/root", *parts[:-1], f"{parts[-1]}.wav")),
            PurePosixPath(*parts[-depth:-1], f"{parts[-1]}.wav"),
        )
        for parts, depth in items
    ]
    table = SourceTable()
    for one in found:
        table.add(one)
    planned = named_sources(table, Path("/out"))
    assert [item.source for item in planned] == [item.source for item in found]
    folded = [item.out_name.casefold() for item in planned]
    assert len({item.out_name for item in planned}) == len(found)
    assert len(set(folded)) >= len({str(item.source).casefold() for item in found})
    assert not any(f"/out/{name}.{fmt}" in {f.source.text for f in found} for name in folded for fmt in FORMATS)
    assert not any(name.startswith("/") or ".." in name.split("/") for name in folded)
