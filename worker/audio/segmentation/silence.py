"""Finds the stretches of a scan without speech (pure).

In doubt a stretch counts as speech, because a lost word costs more than the seconds saved.
"""

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
"""Sound is steady noise, not speech, if its levels over 0.2 s stay within this range for the minimum length of a
skipped stretch."""
_SMOOTH: Final = 12
_SILENT_LEVEL: Final = round((SILENCE_DB - FLOOR_DB) / STEP_DB)
_PIECE: Final = 1 << 14  # windows examined together, which bounds the memory


@dataclass(frozen=True, slots=True)
class SkipOptions:
    """Options for skipping silence."""

    min_s: float = 3.0
    """Minimum length of a skipped stretch in seconds."""
    margin_s: float = 0.8
    """Seconds streamed before and after speech. Both together are longer than the pause after which the service commits
    (1.5 s), so that no sentence continues across a skipped stretch."""
    lead_s: float = 3.0
    """Any sound within this many seconds before speech is streamed too: after music or noise, a detector recognizes
    soft speech only after a while."""
    probability: float = 0.1
    """Probability of a detector from which a window counts as speech. Measured at 0.1 with 1,193 words: no word is lost
    with noise or clatter as loud as the speech, or with speech attenuated by 40 dB; music as loud as the speech costs
    one word."""


class WindowRange(NamedTuple):
    """Windows `first` to `last` of a scan, `last` excluded."""

    first: int
    last: int


class StreamedWindows:
    """Maps positions that count only streamed windows to windows of the scan."""

    def __init__(self, windows: int, skipped: Sequence[WindowRange]) -> None:
        """`windows`: number of windows of the scan. `skipped`: sorted ranges that do not touch."""
        self.count = windows - sum(s.last - s.first for s in skipped)
        gaps = [s.last - s.first for s in skipped]
        before = [0, *accumulate(gaps)]
        self.seams: tuple[int, ...] = tuple(s.first - b for s, b in zip(skipped, before, strict=False))
        """Positions before which windows are skipped."""
        self._before = before

    def window(self, at: int) -> int:
        """The window of the scan at position `at`."""
        return at + self._before[bisect_right(self.seams, at)]

    def windows(self, low: int, high: int) -> npt.NDArray[np.intp]:
        """The windows at the positions from `low` to `high`, `high` excluded."""
        counted = np.arange(low, high)
        placed: npt.NDArray[np.intp] = counted + np.take(self._before, np.searchsorted(self.seams, counted, "right"))
        return placed


def speech_windows(found: Scan, skipping: SkipOptions) -> npt.NDArray[np.bool_]:
    """For each window, whether it may contain speech: bool[windows]."""
    # A detector sometimes takes hiss for speech, mainly at the start of a stream, so steady noise is excluded below.
    if found.voice is not None:
        heard: npt.NDArray[np.bool_] = found.voice >= max(1, round(skipping.probability * 255))
    else:
        heard = np.maximum(found.low, found.high) > _SILENT_LEVEL
    min_windows = round(skipping.min_s / WINDOW_S)
    for at in range(0, len(heard), _PIECE):
        piece = slice(at, at + _PIECE + min_windows)
        heard[piece] &= ~_steady(found, piece, min_windows)
    return heard


def silent_stretches(found: Scan, speech: npt.NDArray[np.bool_], skipping: SkipOptions) -> tuple[WindowRange, ...]:
    """The stretches to skip: at least `min_s` long, and `margin_s` away from `speech`. Sound within `lead_s` before
    speech is not skipped."""
    min_windows, margin = round(skipping.min_s / WINDOW_S), round(skipping.margin_s / WINDOW_S)
    edges = np.flatnonzero(np.diff(~speech, prepend=False, append=False))
    stretches = []
    for first, last in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        start = first + margin if first else 0
        end = last
        if last < len(speech):
            end = min(last - margin, _sound_before(found, max(first, last - round(skipping.lead_s / WINDOW_S)), last))
        if end - start >= max(1, min_windows):
            stretches.append(WindowRange(start, end))
    return tuple(stretches)


def _sound_before(found: Scan, first: int, last: int) -> int:
    """The first window with sound between `first` and `last`; `last` if there is only silence or steady noise."""
    piece = slice(first, last)
    if _steady(found, piece, last - first - _SMOOTH).all():
        return last
    sounding = np.flatnonzero(np.maximum(found.low[piece], found.high[piece]) > _SILENT_LEVEL)
    return first + int(sounding[0]) if len(sounding) else last


def _steady(found: Scan, piece: slice, min_windows: int) -> npt.NDArray[np.bool_]:
    """Windows of a piece inside a steady run of at least `min_windows` windows: hiss, hum, a dial tone."""
    steady = np.zeros(len(found.low[piece]), dtype=bool)
    if min_windows < 1 or len(steady) < min_windows + _SMOOTH:
        return steady
    low, high = (_runs(decibels(levels[piece]), min_windows) for levels in (found.low, found.high))
    starts = np.unique([*range(0, len(low), max(1, min_windows // 16)), len(low) - 1])
    still = (np.ptp(low[starts], axis=1) <= STEADY_DB) & (np.ptp(high[starts], axis=1) <= STEADY_DB)
    for at in starts[still].tolist():
        steady[at : at + min_windows] = True
    return steady


def _runs(levels: Decibels, min_windows: int) -> npt.NDArray[np.float64]:
    """All runs of `min_windows` smoothed levels, one per row of a view."""
    power = np.convolve(np.power(10, levels / 10), np.full(_SMOOTH, 1 / _SMOOTH), mode="valid")
    smooth = np.pad(10 * np.log10(power), (_SMOOTH // 2, _SMOOTH - 1 - _SMOOTH // 2), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(smooth, min_windows)
