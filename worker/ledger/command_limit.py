"""A maximum time for each command to Redis, with all of its retries, for callers that need an answer soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Final

RECANCEL_S: Final = 0.25
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


def limit_s(most_s: float) -> float:
    """Return the limit of a command of this task in seconds: at most `most_s`, the limit of the connection."""
    here = _LIMIT_S.get()
    return most_s if here is None else min(most_s, here)


@asynccontextmanager
async def enforced_limit(seconds: float) -> AsyncIterator[None]:
    """Cancel the block after `seconds`, and then every RECANCEL_S until it ends. Raises TimeoutError.

    `asyncio.timeout` cancels only once. redis-py 8.1 can lose that cancellation, and would then wait for a server that
    hangs until all its retries are over."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    if task is None:  # asynchronous code always runs in a task
        raise RuntimeError("no task")
    before, fired = task.cancelling(), 0
    timer: asyncio.TimerHandle

    def cancel() -> None:
        nonlocal fired, timer
        fired += 1
        task.cancel()
        timer = loop.call_later(RECANCEL_S, cancel)

    timer = loop.call_later(seconds, cancel)
    try:
        yield
    except asyncio.CancelledError:
        if fired and task.cancelling() - fired <= before:  # the limit alone has cancelled the task
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
        for _ in range(fired):
            task.uncancel()


__all__ = ["command_limit", "enforced_limit", "limit_s"]
