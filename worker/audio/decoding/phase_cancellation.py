"""Finds ranges in which the channels of a recording cancel each other when they are mixed. No I/O.

A microphone wired with inverted polarity, or a "stereo" signal made from balanced lines, has one channel that is the
negative of the other: their mix is silence. A whole file or a few seconds of it may be affected.

The decision uses sums over a quarter of a second, in windows that are counted from the start of the source. So it does
not depend on the position where reading starts. A channel that is only delayed also cancels some frequencies, but never
for a quarter of a second.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

WINDOW_S: Final = 0.02
RUN: Final = 12
"""Number of consecutive windows (a run) whose energy is summed for a comparison."""
CONTEXT: Final = RUN - 1
"""Number of windows before and after a window that affect the decision for it."""
_RATIO: Final = 10 ** (-20 / 10)
_UNCORRELATED: Final = 0.25
"""The channels cancel each other only if the mix has less than this share of the energy that uncorrelated channels
would give it. Without this limit, one loud channel among many silent ones would count as cancelled."""
_FLOOR: Final = 10 ** (-75 / 10)
_SAME_LEVEL: Final = 10 ** (-1 / 10)
"""If the levels of channels differ by less than 1 dB, the first channel is used, so that noise does not change the
choice."""
_MEASURED_RATE: Final = 4000
"""Approximate rate (Hz) of the compared samples: a subset gives the same decision at less cost."""
INVERTED: Final = "(inverted phase)"
"""Part of every warning that channels cancel each other; `worker.transcript.document` finds such warnings by it."""
MIX: Final = -1
QUIET: Final = -2
"""The channels are mixed, because the window is too quiet for a decision."""

Energies = npt.NDArray[np.float32]


def window_samples(rate: int) -> int:
    """Return the number of samples in one window at `rate` Hz."""
    return max(1, round(rate * WINDOW_S))


def measure(frames: npt.NDArray[Any], full_scale: float, rate: int) -> Energies:
    """Return the mean squares of each window of frames[n, channels], as float32[1 + channels, windows]. Row 0 is the
    mix, the other rows are the channels.

    A live session calls this four times per second, with 12 windows: 6 µs for two channels. Rows are faster than
    columns here, and two plain operations faster than `einsum` (together 12 µs)."""
    window, channels = window_samples(rate), frames.shape[1]
    some = frames.reshape(-1, window, channels)[:, :: max(1, rate // _MEASURED_RATE)]
    values = np.empty((1 + channels, *some.shape[:2]), np.float32)
    values[1:] = some.transpose(2, 0, 1)
    with np.errstate(invalid="ignore", over="ignore"):  # samples that are not numbers
        np.add.reduce(values[1:], axis=0, out=values[0])
        values *= values
        found: Energies = np.add.reduce(values, axis=2)
        found *= np.float32(1 / (full_scale**2 * some.shape[1]))
        found[0] *= np.float32(1 / channels**2)
    return found


def may_cancel(energies: Energies) -> bool:
    """Whether any window has so little energy in the mix that its run may show cancellation. A run with cancellation
    has at least one such window."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool((energies[0] < _RATIO * np.add.reduce(energies[1:], axis=0)).any())


def choose(energies: Energies) -> npt.NDArray[np.int16]:
    """Return a choice for each window: MIX, QUIET, or a channel (from 0). A channel is chosen if the mix is more than
    20 dB below it.

    The choice is made for runs of RUN windows: if the sums over a run show cancellation, the channel is used in every
    window of the run. If the source has fewer than RUN windows, the run consists of all windows.
    """
    windows = energies.shape[1]
    if not windows:
        return np.zeros(0, np.int16)
    run = min(RUN, windows)
    with np.errstate(invalid="ignore", over="ignore"):
        choice = np.where(energies[1:].max(axis=0) > _FLOOR, MIX, QUIET).astype(np.int16)
        if not may_cancel(energies):
            return choice
        sums = np.lib.stride_tricks.sliding_window_view(energies, run, axis=1).sum(axis=2)
        mixed, each = sums[0], sums[1:]
        loudest, channels = each.max(axis=0), len(each)
        cancelled = (mixed < _RATIO * loudest) & (loudest > _FLOOR * run)
        cancelled &= mixed < _UNCORRELATED * each.sum(axis=0) / channels**2
    for window in sorted({first + k for first in np.flatnonzero(cancelled).tolist() for k in range(run)}):
        around = energies[1:, max(0, window - run // 2) : window + run // 2 + 1].sum(axis=1)
        choice[window] = np.argmax(around >= _SAME_LEVEL * around.max())
    return choice
