"""Session time maps to file time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.session_timeline import Timeline, TimelineSpan

pieces = st.lists(st.tuples(st.sampled_from(["audio", "gap", "padding"]), st.integers(0, 5000)), max_size=20)


def build(plan: list[tuple[str, int]]) -> tuple[Timeline, list[int | None]]:
    """The timeline of a plan, and the file sample of every session sample (None: padding)."""
    timeline, origin, at = Timeline(1000), [], 0
    for kind, length in plan:
        if kind == "audio":
            timeline.add_audio(at, length)
            origin.extend(range(at, at + length))
            at += length
        elif kind == "gap":
            at += length
        else:
            timeline.add_padding(length)
            origin.extend([None] * length)
    return timeline, origin


@given(pieces)
def test_every_sample_maps_to_its_file_position(plan: list[tuple[str, int]]) -> None:
    timeline, origin = build(plan)
    assert timeline.sent == len(origin)
    for position in range(0, len(origin), max(1, len(origin) // 50)):
        if origin[position] is not None:
            assert timeline.to_file(position) == origin[position]


@given(pieces, st.floats(-1, 200, allow_nan=False))
def test_positions_are_never_outside_the_sent_audio(plan: list[tuple[str, int]], at_s: float) -> None:
    timeline, origin = build(plan)
    sent = [o for o in origin if o is not None]
    if sent:
        assert sent[0] <= timeline.to_file(at_s * 1000) <= sent[-1] + 1
    else:
        assert timeline.to_file(at_s * 1000) == 0


@given(pieces, st.lists(st.integers(0, 60_000), min_size=2, max_size=10))
def test_file_positions_never_decrease(plan: list[tuple[str, int]], positions: list[int]) -> None:
    timeline, _ = build(plan)
    mapped = [timeline.to_file(p) for p in sorted(positions)]
    assert mapped == sorted(mapped)


def test_contiguous_audio_is_one_span() -> None:
    timeline = Timeline(16000)
    for start in range(0, 16000, 4000):
        timeline.add_audio(start, 4000)
    timeline.add_padding(10)
    timeline.add_padding(10)
    assert timeline.spans == (TimelineSpan(0, 0, 16000), TimelineSpan(16000, None, 20))
    assert timeline.file_end == 16000


def test_padding_maps_to_the_end_of_the_audio_before_it() -> None:
    timeline = Timeline(1000)
    timeline.add_audio(5000, 100)
    timeline.add_padding(50)
    assert timeline.to_file(120) == 5100
    assert timeline.to_file_s(0.05) == 5.05


def test_a_resumed_session_starts_inside_the_file() -> None:
    timeline = Timeline(16000)
    timeline.add_audio(160_000, 32_000)
    assert timeline.to_file_s(0.5) == 10.5


@pytest.mark.parametrize("bad", [lambda t: t.add_audio(-1, 5), lambda t: t.add_padding(-1), lambda _: Timeline(0)])
def test_values_out_of_range_are_refused(bad) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="must"):
        bad(Timeline(1000))


def test_session_positions_of_the_file() -> None:
    line = Timeline(10)
    line.add_audio(100, 50)
    line.add_audio(200, 50)
    line.add_padding(30)
    assert line.to_session_s(10.0) == 0.0
    assert line.to_session_s(12.0) == 2.0
    assert line.to_session_s(21.0) == 6.0
    assert line.to_session_s(18.0) == 5.0  # not part of the session
    assert line.to_session_s(99.0) == 10.0
    assert line.pieces_s(4.0, 12.0) == [(4.0, 14.0, 1.0), (5.0, 20.0, 5.0)]
    assert line.pieces_s(10.0, 12.0) == []
