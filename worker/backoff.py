"""Computes random delays before a retry or the next poll.

Processes that fail or start at the same time must not retry at the same time. The functions do not sleep: some callers
store the delay of a job in Redis, and others must be able to wake up early.
"""

from __future__ import annotations

import random


def jittered(interval_s: float, spread: float = 1 / 3) -> float:
    """Return a random delay for polls, in seconds: `interval_s`, shorter or longer by at most the fraction `spread`."""
    return interval_s * random.uniform(1 - spread, 1 + spread)  # noqa: S311


def exponential_s(failures: int, first_s: float, max_s: float, *, factor: float = 2.0) -> float:
    """Return the delay after `failures` failures, in seconds: `first_s * factor ** failures`, at most `max_s`. Not
    random."""
    try:
        return min(max_s, first_s * factor ** max(0, failures))
    except OverflowError:
        return max_s


def backoff_s(failures: int, first_s: float, max_s: float, *, factor: float = 2.0) -> float:
    """Return the delay before the next attempt, in seconds: random, between 50 % and 100 % of `exponential_s`.

    The lower bound relieves a service under load. With the upper bound, no delay is longer than `max_s`.
    """
    return exponential_s(failures, first_s, max_s, factor=factor) * random.uniform(0.5, 1.0)  # noqa: S311
