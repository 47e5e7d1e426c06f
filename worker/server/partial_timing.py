"""Decides how often the server recognizes speech that has not ended yet, to send its text as a partial. No I/O."""

from __future__ import annotations

from typing import Final

from worker.server.recognizers import SAMPLE_RATE

PARTIAL_INTERVAL_S: Final = 1.0
"""Minimum time between two partials of a session."""
MIN_NEW_AUDIO_S: Final = 0.5
"""Minimum of new speech since the last partial."""
MAX_PARTIAL_S: Final = 28.0
"""Longest speech that is recognized as a partial: one call of the recognition engine takes at most 30 s."""


def is_due(since_last_s: float) -> bool:
    """Whether a partial may be sent `since_last_s` seconds after the previous one."""
    return since_last_s >= PARTIAL_INTERVAL_S


def is_worth_it(samples: int, recognized: int) -> bool:
    """Whether to recognize speech of `samples` samples, of which `recognized` were recognized for the last partial."""
    return samples - recognized >= MIN_NEW_AUDIO_S * SAMPLE_RATE and samples <= MAX_PARTIAL_S * SAMPLE_RATE
