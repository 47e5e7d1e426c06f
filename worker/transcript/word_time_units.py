"""Units in which services send word times, such as milliseconds. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from worker.transcript.word_time_repair import Times

UNITS_S: Final = (1.0, 1e-3, 1e-6, 1e-9, 1e-7, 1e-2)
"""Seconds per unit of the service's times, in order of likelihood."""
MEDIAN_WORD_RANGE_S: Final = (0.01, 5.0)
"""Plausible range of the median word duration in a commit."""


def in_plausible_units(times: Sequence[tuple[float, float]]) -> Iterator[tuple[float, Times]]:
    """Yield each unit in which the words of a commit would have a plausible length. The unit comes with the times of
    the words, converted to seconds."""
    for unit in UNITS_S:
        scaled = [(start * unit, end * unit) for start, end in times]
        if MEDIAN_WORD_RANGE_S[0] <= median(end - start for start, end in scaled) <= MEDIAN_WORD_RANGE_S[1]:
            yield unit, scaled
