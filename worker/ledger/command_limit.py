"""A maximum time for each command to Redis, with all of its retries, for callers that must answer soon."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

_LIMIT_S: Final[ContextVar[float | None]] = ContextVar("redis_command_limit_s", default=None)


@contextmanager
def command_limit(seconds: float) -> Iterator[None]:
    """Limit each command of this task, and of the tasks that it creates, to `seconds`.

    The usual retries last up to a minute if Redis accepts connections but does not answer. A command above the limit
    raises LedgerUnavailable; Redis may still run it."""
    token = _LIMIT_S.set(seconds)
    try:
        yield
    finally:
        _LIMIT_S.reset(token)


def limited() -> asyncio.Timeout:
    """Return the context for one command."""
    return asyncio.timeout(_LIMIT_S.get())


__all__ = ["command_limit", "limited"]
