from __future__ import annotations

import asyncio

import pytest

from tests.support.wait import WaitTimeoutError, async_wait_until, pause_s, wait_until


def test_returns_the_first_truthy_value() -> None:
    values = iter([0, "", None, "here"])
    assert wait_until(lambda: next(values), "a value", poll_s=0) == "here"


def test_fails_with_the_description() -> None:
    with pytest.raises(WaitTimeoutError, match=r"not within [\d.]+ s: the moon"):
        wait_until(lambda: False, "the moon", timeout_s=0.02)


async def test_async_takes_both_kinds_of_predicate() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_soon(event.set)
    await async_wait_until(event.is_set, "the event")

    async def answer() -> int:
        return 42

    assert await async_wait_until(answer, "the answer") == 42


async def test_async_bounds_a_predicate_that_hangs() -> None:
    async def hangs() -> None:
        await asyncio.Event().wait()

    with pytest.raises(WaitTimeoutError, match="never"):
        await async_wait_until(hangs, "never", timeout_s=0.02)


def test_a_predicate_runs_for_at_most_a_fifth_of_the_time() -> None:
    assert pause_s(0.01, waited_s=0.0, took_s=0.0) == 0.01
    assert pause_s(0.01, waited_s=10.0, took_s=0.0) == 0.05
    assert pause_s(0.2, waited_s=10.0, took_s=0.0) == 0.2
    assert pause_s(0.01, waited_s=0.0, took_s=0.03) == pytest.approx(0.12)
