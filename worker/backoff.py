"""Random waits: how long to pause before the next attempt of something that failed, or before the next poll.

Processes that fail together, or that start together, must not come back together. All waits of this kind take their
length from here. The functions do not sleep: some callers let a job wait in Redis, and others must wake up early.
"""

from __future__ import annotations

import random


def jittered(interval_s: float, spread: float = 1 / 3) -> float:
    """A random length around `interval_s`: at most the fraction `spread` shorter or longer. For polls."""
    return interval_s * random.uniform(1 - spread, 1 + spread)  # noqa: S311


def exponential_s(failures: int, first_s: float, max_s: float, *, factor: float = 2.0) -> float:
    """`first_s` without a failure, `factor` times as long after each one, at most `max_s`. Not random."""
    try:
        return min(max_s, first_s * factor ** max(0, failures))
    except OverflowError:
        return max_s


def backoff_s(failures: int, first_s: float, max_s: float, *, factor: float = 2.0) -> float:
    """The pause before another attempt: a random length between 50 % and 100 % of `exponential_s`.

    At least half, so that a service under load gets a rest; never more, so that `max_s` is a promise.
    """
    return exponential_s(failures, first_s, max_s, factor=factor) * random.uniform(0.5, 1.0)  # noqa: S311
