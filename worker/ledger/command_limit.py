"""A time limit for calls to Redis that only applies to the current task, such as one request to the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_LIMIT_S: Final[ContextVar[float | None]] = ContextVar("redis_command_limit_s", default=None)


@contextmanager
def command_limit(seconds: float) -> Iterator[None]:
    """Within the block, each call to Redis of this task takes at most `seconds`, retries included. After that,
    LedgerUnavailable is raised."""
    token = _LIMIT_S.set(seconds)
    try:
        yield
    finally:
        _LIMIT_S.reset(token)


def limit_s(most_s: float) -> float:
    """Return the limit of a call in the current task, in seconds: that of `command_limit`, but at most `most_s`."""
    here = _LIMIT_S.get()
    return most_s if here is None else min(most_s, here)


__all__ = ["command_limit", "limit_s"]
