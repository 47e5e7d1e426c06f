"""Which stretches of a scan hold no speech (pure). Rather too few than one too many: a lost word is worth more than the
seconds saved."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from worker.audio.segmentation.scan import FLOOR_DB, SILENCE_DB, STEP_DB, WINDOW_S, Decibels, Scan, decibels

STEADY_DB: Final = 3.0
"""Sound whose levels, taken over 0.2 s, keep within this for as long as a skipped stretch must last is not speech."""
_SMOOTH: Final = 12
_NOTHING: Final = round((SILENCE_DB - FLOOR_DB) / STEP_DB)
_PIECE: Final = 1 << 14  # windows looked at together


@dataclass(frozen=True, slots=True)
class SkipOptions:
    """What may be left out."""

    min_s: float = 3.0
    """Shortest stretch worth leaving out, in seconds."""
    margin_s: float = 0.8
    """Seconds kept before and after speech. Both together are longer than the pause after which a service commits
    (1.5 s), so that no sentence runs across what is left out."""
    lead_s: float = 3.0
    """What sounds within this many seconds before speech is kept too: after music or noise, a detector needs a while to
    notice somebody who speaks softly."""
    probability: float = 0.1
    """A detector's probability from which it is speech. At 0.1, none of 1,193 words is lost with noise or clatter as
    loud as the speech, or the speech 40 dB down; music as loud as the speech costs one."""


class WindowRange(NamedTuple):
    """Windows `first` to `last` (not included) of a scan."""

    first: int
    last: int


class StreamedWindows:
    """The windows that are streamed, counted without those that are skipped."""

    def __init__(self, windows: int, skipped: Sequence[WindowRange]) -> None:
        """`skipped` in order and apart from each other."""
        self.count = windows - sum(s.last - s.first for s in skipped)
        gaps = [s.last - s.first for s in skipped]
        before = [0, *accumulate(gaps)]
        self.seams: tuple[int, ...] = tuple(s.first - b for s, b in zip(skipped, before, strict=False))
        """Counted windows before which something is left out."""
        self._before = before

    def window(self, at: int) -> int:
        """The window that is the `at`-th of those kept."""
        return at + self._before[bisect_right(self.seams, at)]

    def windows(self, low: int, high: int) -> npt.NDArray[np.intp]:
        """The same for `low` to `high` (not included)."""
        counted = np.arange(low, high)
        placed: npt.NDArray[np.intp] = counted + np.take(self._before, np.searchsorted(self.seams, counted, "right"))
        return placed


def speech_windows(found: Scan, skipping: SkipOptions) -> npt.NDArray[np.bool_]:
    """For each window whether it may hold speech."""
    if found.voice is not None:  # it takes hiss for speech at times, above all at first
        heard: npt.NDArray[np.bool_] = found.voice >= max(1, round(skipping.probability * 255))
    else:
        heard = np.maximum(found.low, found.high) > _NOTHING
    least = round(skipping.min_s / WINDOW_S)
    for at in range(0, len(heard), _PIECE):
        piece = slice(at, at + _PIECE + least)
        heard[piece] &= ~_steady(found, piece, least)
    return heard


def silent_stretches(found: Scan, speech: npt.NDArray[np.bool_], skipping: SkipOptions) -> tuple[WindowRange, ...]:
    """The stretches to leave out: at least `min_s` long, `margin_s` away from `speech`, and more before it where
    something sounds."""
    least, margin = round(skipping.min_s / WINDOW_S), round(skipping.margin_s / WINDOW_S)
    edges = np.flatnonzero(np.diff(~speech, prepend=False, append=False))
    stretches = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        start = first + margin if first else 0
        end = last
        if last < len(speech):
            end = min(last - margin, _sound_before(found, max(first, last - round(skipping.lead_s / WINDOW_S)), last))
        if end - start >= max(1, least):
            stretches.append(WindowRange(start, end))
    return tuple(stretches)


def _sound_before(found: Scan, first: int, last: int) -> int:
    """The first window from `first` on in which something sounds; `last` when nothing does, or always the same."""
    piece = slice(first, last)
    if _steady(found, piece, last - first - _SMOOTH).all():
        return last
    sounding = np.flatnonzero(np.maximum(found.low[piece], found.high[piece]) > _NOTHING)
    return first + int(sounding[0]) if len(sounding) else last


def _steady(found: Scan, piece: slice, least: int) -> npt.NDArray[np.bool_]:
    """Windows of a piece inside a run of at least `least` whose level hardly moves: hiss, hum, a dial tone."""
    steady = np.zeros(len(found.low[piece]), dtype=bool)
    if least < 1 or len(steady) < least + _SMOOTH:
        return steady
    low, high = (_runs(decibels(levels[piece]), least) for levels in (found.low, found.high))
    starts = np.unique([*range(0, len(low), max(1, least // 16)), len(low) - 1])
    still = (np.ptp(low[starts], axis=1) <= STEADY_DB) & (np.ptp(high[starts], axis=1) <= STEADY_DB)
    for at in starts[still].tolist():
        steady[at : at + least] = True
    return steady


def _runs(levels: Decibels, least: int) -> npt.NDArray[np.float64]:
    """Every run of `least` levels, smoothed, as one row of a view."""
    power = np.convolve(np.power(10, levels / 10), np.full(_SMOOTH, 1 / _SMOOTH), mode="valid")
    smooth = np.pad(10 * np.log10(power), (_SMOOTH // 2, _SMOOTH - 1 - _SMOOTH // 2), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(smooth, least)
