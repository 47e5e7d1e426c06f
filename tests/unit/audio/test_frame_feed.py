"""The end of the audio that a frame feed expects."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from tests.support.sources import SignalSource, in_blocks
from worker.audio.frame_feed import FrameFeed, Piece
from worker.audio.source import Audio

RATE = 16000
FRAME = RATE // 4
SECONDS = 3


def expected_ends(
    pieces: Sequence[Piece] = ((0, None),),
    until: int | None = None,
    *,
    source_rate: int = RATE,
    declared: float | None = 1.0,
) -> list[int]:
    """Return the positions after which the feed expected its end, of all frames of a source of three seconds.

    `declared`: length in the header, as a factor of the true length."""
    frames = None if declared is None else round(source_rate * SECONDS * declared)
    source = SignalSource(in_blocks(np.zeros(SECONDS * source_rate, np.float32), source_rate), source_rate, frames)
    feed = FrameFeed(cast(Audio, source), RATE, FRAME, pieces)
    asyncio.run(feed.seek(0, until))
    ends = []
    position = -1
    for frame in feed:
        assert frame.file_start >= position
        position = frame.file_start + frame.samples
        if feed.at_declared_end:
            ends.append(position)
    return ends


@pytest.mark.parametrize("source_rate", [8000, RATE, 44100])
def test_the_end_of_the_header_is_expected(source_rate: int) -> None:
    assert expected_ends(source_rate=source_rate) == [SECONDS * RATE]


def test_the_end_of_the_last_range_is_expected() -> None:
    assert expected_ends(((0, FRAME), (2 * FRAME, 4 * FRAME))) == [4 * FRAME]
    assert expected_ends(((0, FRAME), (2 * FRAME, None))) == [SECONDS * RATE]


def test_the_end_of_a_seek_is_expected() -> None:
    assert expected_ends(until=3 * FRAME) == [3 * FRAME]
    between = ((0, FRAME), (3 * FRAME, None))
    assert expected_ends(between, until=2 * FRAME) == [FRAME]


def test_without_a_declared_length_no_end_is_expected() -> None:
    assert expected_ends(declared=None) == []


@pytest.mark.parametrize(("declared", "count"), [(2.0, 0), (0.5, 7), (0.0, 12)])
def test_a_wrong_length_in_the_header_ends_nothing(declared: float, count: int) -> None:
    assert len(expected_ends(declared=declared)) == count
