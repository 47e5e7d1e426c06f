"""Finds the best point for a cut: in a pause near the ideal position or, if there is no pause, at the quietest moment.
No I/O."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from worker.audio.segmentation.scan import WINDOW_S, Decibels, Scan, decibels
from worker.audio.segmentation.silence import StreamedWindows

MIN_PAUSE_S: Final = 0.2
"""Minimum length of a pause. A shorter one may be the closure of a consonant inside a word (up to about 0.12 s)."""
GOOD_PAUSE_S: Final = 0.5
"""If a pause near the ideal position is at least this long, no pause further away is searched."""
MIN_PAUSE_CONTRAST_DB: Final = 10.0
"""Minimum difference between loud moments and the quietest one. With less contrast, a dip in the level does not count
as a pause."""

_MIN_PAUSE_WINDOWS: Final = round(MIN_PAUSE_S / WINDOW_S)
_TOGETHER_DB: Final = 6.0  # pauses exist only if both bands come together within this of their quietest moments
_TOTAL_DB: Final = 4.0  # the total level of a pause, which includes noise, is at least this far below that of speech
_QUIET_SHARE: Final = 0.3  # a level is quiet if it is in this lowest part of the range from quietest to loud
_BEST_PAUSE_S: Final = 1.0
_EDGE_S: Final = 0.08  # a cut stays this far from the edges of its pause
_AROUND_S: Final = 10.0  # audio before and after the searched range that also defines which levels are loud and quiet
_VOICE_SPREAD_S: Final = 0.1  # accuracy of the start and end of speech that a detector finds
_SILENT_DB: Final = -120.0
_DISTANCE_DB: Final = 6.0

Pause = tuple[int, int]
"""A pause: (start, end) in windows, `end` excluded."""


def best_cut(
    found: Scan, kept: StreamedWindows, speech: npt.NDArray[np.bool_] | None, first: int, place: int, last: int
) -> tuple[int, bool]:
    """Find the best cut between `first` and `last`: in a good pause as near to `place` as possible or, if there is no
    good pause, at the quietest moment. Returns the position of the cut, and whether it is in a pause.

    Positions are indices of streamed windows (`kept`); skipped windows have no position. `speech`: whether each window
    of the scan may contain speech, or None if this is unknown. If `speech` is given, sound that is not speech is
    treated as a pause.
    """
    last = max(first, last)
    place = min(max(place, first), last)
    around = round(_AROUND_S / WINDOW_S)
    low, high = max(0, first - around), min(kept.count, last + around)
    windows = kept.windows(low, high)
    low_db, high_db = decibels(found.low[windows]), decibels(found.high[windows])
    levels, total = _excess(low_db, high_db), np.maximum(low_db, high_db)
    if speech is not None:
        spoken = _spread(speech[windows])
        levels[~spoken] = total[~spoken] = _SILENT_DB
    pauses = _pauses(levels, total)
    for share in (0.2, 0.5, 1.0):
        left, right = place - int((place - first) * share), place + int((last - place) * share)
        seams = [seam for seam in kept.seams if left <= seam <= right]
        if seams:  # at a skipped range: both sides are silent, and no session has to jump over the range
            return min(seams, key=lambda seam: abs(seam - place)), True
        chosen = _choose(pauses, left - low, place - low, right - low)
        if chosen is not None and (share == 1.0 or chosen[1] >= GOOD_PAUSE_S / WINDOW_S):
            return low + chosen[0], True
    distance = np.abs(np.arange(first, last + 1) - place) / max(1, last - first)
    quiet = _smooth(levels, round(0.1 / WINDOW_S))[first - low : last - low + 1]
    return first + int(np.argmin(quiet + _DISTANCE_DB * distance[: len(quiet)])), False


def _excess(low: Decibels, high: Decibels) -> Decibels:
    """Return for each window how many dB it is above the quietest moment. The difference is computed in each of the two
    bands, and the larger one is used. So constant noise in one band does not hide a pause."""
    return np.asarray(np.maximum(low - np.float32(_quietest(low)), high - np.float32(_quietest(high))))


def _loud(levels: Decibels) -> float:
    return float(np.percentile(levels, 90)) if len(levels) else _SILENT_DB


def _quietest(levels: Decibels) -> float:
    """Return the maximum level within the quietest MIN_PAUSE_S seconds."""
    if len(levels) < _MIN_PAUSE_WINDOWS:
        return 0.0
    return float(np.lib.stride_tricks.sliding_window_view(levels, _MIN_PAUSE_WINDOWS).max(axis=1).min())


def _pauses(levels: Decibels, total: Decibels) -> list[Pause]:
    """Return the runs of windows, at least MIN_PAUSE_S seconds long, that are quieter than the rest, both in `levels`
    (see `_excess`) and in the `total` level."""
    loud, quietest = _loud(levels), _quietest(levels)
    if loud - quietest < MIN_PAUSE_CONTRAST_DB or quietest > _TOGETHER_DB:
        return []
    quiet = levels <= quietest + _QUIET_SHARE * (loud - quietest)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).tolist()
    max_total = _loud(total) - _TOTAL_DB
    runs = zip(edges[::2], edges[1::2], strict=True)
    return [(a, b) for a, b in runs if b - a >= _MIN_PAUSE_WINDOWS and float(total[a:b].mean()) <= max_total]


def _choose(pauses: list[Pause], left: int, place: int, right: int) -> tuple[int, int] | None:
    """Find the best position inside a pause between `left` and `right`. Returns the position and the length of the
    pause, or None if there is no pause. Long pauses near `place` are preferred."""
    longest, edge = _BEST_PAUSE_S / WINDOW_S, round(_EDGE_S / WINDOW_S)
    best: tuple[int, int] | None = None
    best_score = -1.0
    for start, end in pauses:
        at = min(max((start + end) // 2, left), right)
        if not start + edge <= at <= end - edge:
            continue
        score = min(end - start, longest) / longest - 0.3 * abs(at - place) / max(1, right - left)
        if score > best_score:
            best, best_score = (at, end - start), score
    return best


def _spread(speech: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Extend speech on both sides by the accuracy of the detector."""
    width = round(_VOICE_SPREAD_S / WINDOW_S)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(speech, width), 2 * width + 1)
    return np.asarray(around.any(axis=1))


def _smooth(levels: Decibels, width: int) -> npt.NDArray[np.float64]:
    padded = np.pad(levels, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width), mode="valid")
