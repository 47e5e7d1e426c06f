from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.audio.decoding.libsndfile_faults import FilePart, PartFile, read_plan

CONTENT = bytes(range(200))
STEPS = st.lists(st.tuples(st.sampled_from(["set", "cur", "end", "read"]), st.integers(-60, 220)), max_size=12)


BOUNDS = st.lists(st.integers(0, 200), max_size=6)


@given(start=st.integers(0, 200), length=st.integers(0, 200), head=st.binary(max_size=20), cuts=BOUNDS, steps=STEPS)
def test_a_part_behaves_like_a_separate_file(
    tmp_path_factory: pytest.TempPathFactory,
    start: int,
    length: int,
    head: bytes,
    cuts: list[int],
    steps: list[tuple[str, int]],
) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    if not path.exists():
        path.write_bytes(CONTENT)
    end = max(start, min(start + length, len(CONTENT)))
    inside = sorted(cut for cut in cuts if start <= cut <= end)
    omitted = tuple(zip(inside[::2], inside[1::2], strict=False))
    kept = [at for at in range(start, end) if not any(first <= at < last for first, last in omitted)]
    expected = head + bytes(CONTENT[at] for at in kept)
    real, ours = io.BytesIO(expected), PartFile(path, FilePart(start, end, head, omitted=omitted))
    for what, number in steps:
        if what == "read":
            assert ours.read(abs(number)) == real.read(abs(number))
        else:
            base = {"set": 0, "cur": real.tell(), "end": len(expected)}[what]
            place = max(0, base + number)
            assert ours.seek(place - base, ["set", "cur", "end"].index(what)) == real.seek(place)
        assert ours.tell() == real.tell()
    ours.close()


def test_ordinary_files_need_no_plan(tmp_path: Path) -> None:
    for content in (b"", b"RIFF", b"fLaC" + bytes(100), b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff" + bytes(50)):
        path = tmp_path / "a"
        path.write_bytes(content)
        assert read_plan(path).parts == ()
