"""Waits until conditions are true, with a timeout. Tests use this instead of sleeps of fixed length."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any


class WaitTimeoutError(AssertionError):
    """A condition did not become true in time. The message has the description of the condition. A subclass of
    AssertionError, so that the test is reported as failed."""


def allowed_s(timeout_s: float) -> float:
    """Return `timeout_s`, multiplied by up to 8 on a busy machine. It is for timeouts that only end tests that fail
    anyway, so a long one costs nothing. A limit that must be shorter than another time in the test needs a constant."""
    per_core = os.getloadavg()[0] / (os.cpu_count() or 1)
    return timeout_s * min(8.0, max(1.0, per_core / 2))


def pause_s(poll_s: float, waited_s: float, took_s: float) -> float:
    """Return the pause before the next call of a predicate, after `waited_s` seconds, if its last call took `took_s`.

    The pause grows to 50 ms, and a slow predicate, such as a request to a server, runs for at most a fifth of the time.
    The processes for which a test waits need the rest of the core."""
    return max(poll_s, min(0.05, waited_s / 20), min(0.5, 4 * took_s))


def wait_until(predicate: Callable[[], Any], description: str, timeout_s: float = 10.0, poll_s: float = 0.01) -> Any:
    """Return the predicate's first truthy value; raise WaitTimeoutError after `timeout_s` seconds, or more on a busy
    machine (see `allowed_s`). `poll_s`: the shortest pause between two calls (see `pause_s`). Blocks."""
    timeout_s = allowed_s(timeout_s)
    started = time.monotonic()
    while True:
        called = time.monotonic()
        value = predicate()
        if value:
            return value
        if called - started >= timeout_s:
            raise WaitTimeoutError(f"not within {timeout_s:g} s: {description}")
        time.sleep(pause_s(poll_s, called - started, time.monotonic() - called))


async def async_wait_until(
    predicate: Callable[[], Any | Awaitable[Any]], description: str, timeout_s: float = 10.0, poll_s: float = 0.01
) -> Any:
    """Call the predicate repeatedly until its value is true, and return this value. Does not block the event loop. The
    predicate may be a coroutine function. Raises WaitTimeoutError after `timeout_s` seconds, even while the predicate's
    coroutine runs. `poll_s`: the shortest pause between two calls (see `pause_s`)."""
    timeout_s = allowed_s(timeout_s)
    started = time.monotonic()
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                called = time.monotonic()
                value = predicate()
                if inspect.isawaitable(value):
                    value = await value
                if value:
                    return value
                await asyncio.sleep(pause_s(poll_s, called - started, time.monotonic() - called))
    except TimeoutError:
        raise WaitTimeoutError(f"not within {timeout_s:g} s: {description}") from None
