"""Units in which services send word times, such as milliseconds. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from worker.realtime.messages import WireWord
from worker.transcript.commit_audio import NEARBY_S
from worker.transcript.word_time_repair import Times

UNITS_S: Final = (1.0, 1e-3, 1e-6, 1e-9, 1e-7, 1e-2)
"""Seconds per unit of the service's times, in order of likelihood."""
MEDIAN_WORD_RANGE_S: Final = (0.01, 5.0)
"""Plausible range of the median word duration in a commit."""
MAX_WORD_DISTANCE_S: Final = 120.0
"""Maximum distance, in seconds, of a word's start from the median start of its commit. Other times count as wrong."""


def in_plausible_units(times: Sequence[tuple[float, float]]) -> Iterator[tuple[float, Times]]:
    """Yield each unit in which the words of a commit would have a plausible length. The unit comes with the times of
    the words, converted to seconds."""
    for unit in UNITS_S:
        scaled = [(start * unit, end * unit) for start, end in times]
        if MEDIAN_WORD_RANGE_S[0] <= median(end - start for start, end in scaled) <= MEDIAN_WORD_RANGE_S[1]:
            yield unit, scaled


def sent_word_range(words: Sequence[WireWord], sent_s: float) -> tuple[float, float]:
    """Return the first and the last time of the words as the service sent them, in seconds. `sent_s`: end of the sent
    audio, in seconds since the start of the session.

    If several units are plausible, the one with the latest end is used: the audio up to that end contains the words in
    every unit. Times outside the sent audio, and times far from most words, are ignored. Returns (0, 0) if no unit puts
    most of the words within the sent audio."""
    pairs = [
        (min(w.start, w.end), max(w.start, w.end))
        for w in words
        if w.start is not None and w.end is not None and (w.start or w.end)
    ]
    found = [_range_within(scaled, sent_s) for _, scaled in in_plausible_units(pairs)] if pairs else []
    # Seconds are always tried, also for words that are whole sentences (see `WordTimeCorrector.conversion`).
    if pairs and median(end - start for start, end in pairs) <= NEARBY_S:
        found.append(_range_within(pairs, sent_s))
    if not any(found) or 2 * len(pairs) < len(words):  # most words have no ends, or the words have no durations
        starts = [(w.start, w.start) for w in words if w.start]
        found += [_range_within([(a * unit, b * unit) for a, b in starts], sent_s) for unit in UNITS_S]
    return max(filter(None, found), key=lambda one: one[1], default=(0.0, 0.0))


def _range_within(times: Times, sent_s: float) -> tuple[float, float] | None:
    if not times:
        return None
    middle_s = median(start for start, _ in times)
    inside = [
        (start, end)
        for start, end in times
        if 0.0 <= start <= sent_s + NEARBY_S and abs(start - middle_s) <= MAX_WORD_DISTANCE_S
    ]
    if 2 * len(inside) <= len(times):
        return None
    return min(start for start, _ in inside), min(max(end for _, end in inside), sent_s)
