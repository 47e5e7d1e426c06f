"""Smooths levels. No I/O."""

from __future__ import annotations

import numpy as np

from worker.audio.level_bytes import Levels


def smoothed(level: Levels) -> Levels:
    """Replace each level by the mean of the level and its two neighbours. Computed with shifted arrays, because this
    takes a tenth of the time of a sliding window view."""
    if len(level) < 2:
        return level
    smooth = np.empty_like(level)
    smooth[1:-1] = (level[:-2] + level[1:-1] + level[2:]) / 3
    smooth_edges(level, smooth)
    return smooth


def smooth_edges(level: Levels, smooth: Levels) -> None:
    """Write the first and the last value of `smoothed`, which have one neighbour."""
    if len(level) > 1:
        smooth[0], smooth[-1] = (2 * level[0] + level[1]) / 3, (2 * level[-1] + level[-2]) / 3
