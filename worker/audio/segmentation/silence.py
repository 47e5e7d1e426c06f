"""Finds the ranges of a scan that contain no speech. No I/O.

Doubtful audio is treated as speech, because a lost word is worse than some seconds of needless streaming.
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
"""Sound is steady noise, not speech, if its levels, averaged over 0.2 s, stay within this range for as long as a
skipped range must at least be."""
_SMOOTH: Final = 12
_SILENT_LEVEL: Final = round((SILENCE_DB - FLOOR_DB) / STEP_DB)
_PIECE: Final = 1 << 14  # windows examined together, which bounds the memory


@dataclass(frozen=True, slots=True)
class SkipOptions:
    """Options for skipping silence."""

    min_s: float = 3.0
    """Minimum length of a skipped range in seconds."""
    margin_s: float = 0.8
    """Seconds streamed before and after speech. The two margins of a skipped range together are longer than the pause
    after which the service commits text (1.5 s), so that no sentence continues across the range."""
    lead_s: float = 3.0
    """Any sound within this many seconds before speech is streamed too, because after music or noise a detector
    recognizes soft speech only with a delay."""
    probability: float = 0.1
    """A window counts as speech if the detector's probability is at least this. Measured at 0.1 with 1,193 words: no
    word is lost with noise or clatter as loud as the speech, or with speech attenuated by 40 dB; music as loud as the
    speech costs one word."""


class WindowRange(NamedTuple):
    """Windows `first` to `last` of a scan, `last` excluded."""

    first: int
    last: int


class StreamedWindows:
    """Maps positions to windows of the scan. A position is an index among the streamed windows only; the scan also has
    the skipped windows."""

    def __init__(self, windows: int, skipped: Sequence[WindowRange]) -> None:
        """`windows`: number of windows of the scan. `skipped`: sorted ranges that do not touch each other."""
        self.count = windows - sum(s.last - s.first for s in skipped)
        gaps = [s.last - s.first for s in skipped]
        before = [0, *accumulate(gaps)]
        self.seams: tuple[int, ...] = tuple(s.first - b for s, b in zip(skipped, before, strict=False))
        """The positions of streamed windows directly before which a range of windows is skipped."""
        self._before = before

    def window(self, at: int) -> int:
        """Return the window of the scan at position `at`."""
        return at + self._before[bisect_right(self.seams, at)]

    def windows(self, low: int, high: int) -> npt.NDArray[np.intp]:
        """Return the windows of the scan at the positions from `low` to `high`. Position `high` is not included."""
        counted = np.arange(low, high)
        placed: npt.NDArray[np.intp] = counted + np.take(self._before, np.searchsorted(self.seams, counted, "right"))
        return placed


def speech_windows(found: Scan, skipping: SkipOptions) -> npt.NDArray[np.bool_]:
    """Return whether each window may contain speech: bool[windows]."""
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
    """Return the ranges to skip. They are at least `min_s` long and at least `margin_s` away from `speech`. Sound in
    the last `lead_s` before speech is not skipped."""
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
    """Return the first window with sound between `first` and `last`; `last` if there is only silence or steady
    noise."""
    piece = slice(first, last)
    if _steady(found, piece, last - first - _SMOOTH).all():
        return last
    sounding = np.flatnonzero(np.maximum(found.low[piece], found.high[piece]) > _SILENT_LEVEL)
    return first + int(sounding[0]) if len(sounding) else last


def _steady(found: Scan, piece: slice, min_windows: int) -> npt.NDArray[np.bool_]:
    """Return for each window in the slice `piece` whether it is inside a steady run (hiss, hum, a dial tone) of at
    least `min_windows` windows. To save time, only some positions are examined as the start of a run."""
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
    """Smooth the levels. Returns all runs of `min_windows` consecutive levels, as the rows of a view."""
    power = np.convolve(np.power(10, levels / 10), np.full(_SMOOTH, 1 / _SMOOTH), mode="valid")
    smooth = np.pad(10 * np.log10(power), (_SMOOTH // 2, _SMOOTH - 1 - _SMOOTH // 2), mode="edge")
    return np.lib.stride_tricks.sliding_window_view(smooth, min_windows)
