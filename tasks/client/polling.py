"""Pauses between two queries of a producer to Redis about the jobs that it follows."""

from __future__ import annotations

from typing import Final

from worker.backoff import exponential_s, jittered

POLL_S: Final = (0.1, 1.0)
"""Shortest and longest pause between two polls, in seconds."""


def poll_pause_s(idle: int) -> float:
    """Return the seconds until the next poll. `idle`: number of polls in a row that found nothing new."""
    return jittered(exponential_s(idle, *POLL_S, factor=1.5), spread=0.2)
