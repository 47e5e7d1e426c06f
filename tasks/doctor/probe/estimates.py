"""Computes estimates from the messages of a measurement. No I/O."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

MIN_DRIFT_S: Final = 0.02
"""Smaller changes of word times from commit to commit are inaccuracies of the recognizer."""


def speech_end(pcm_levels: Sequence[float], window_s: float) -> float:
    """Return the end of the last sound of a sample, in seconds. `pcm_levels`: loudness (0 to 1) of each window of
    `window_s` seconds. A window has sound if it is louder than a tenth of the loudest window."""
    loudest = max(pcm_levels, default=0.0)
    loud = [index for index, level in enumerate(pcm_levels) if level > loudest / 10]
    return (loud[-1] + 1) * window_s if loud else 0.0


def drift_of(starts: Sequence[float], period_s: float) -> float | None:
    """Return the drift of word times: by how many seconds the start of the same word is later with each repetition of a
    sample.

    `starts`: time of the sample's first word in each repetition. `period_s`: seconds between two repetitions. Returns
    None for fewer than three repetitions, and 0 for a drift below the accuracy of word times."""
    if len(starts) < 3:
        return None
    late = [start - number * period_s for number, start in enumerate(starts)]
    steps = [(after - late[0]) / number for number, after in enumerate(late[1:], 1)]
    drift_s = statistics.median(steps)
    return round(drift_s, 3) if abs(drift_s) >= MIN_DRIFT_S else 0.0
