"""The bell a session's tasks wait on."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import virtual_time
from worker.realtime.wakeup import Bell


def test_it_ends_a_wait_when_rung_or_when_the_time_has_come() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        bell, ended = Bell(loop), []
        bell.ring()
        await bell.wait(loop.time() + 5)  # rung before: at once
        ended.append(loop.time())
        await bell.wait(loop.time() + 5)  # each ring ends one wait only
        ended.append(loop.time())
        loop.call_later(2, bell.ring)
        loop.call_later(2, bell.ring)
        await bell.wait()
        ended.append(loop.time())
        await bell.wait(loop.time() + 5)
        ended.append(loop.time())
        return ended

    first, *later = virtual_time.run(run())
    assert [at - first for at in later] == pytest.approx([5, 7, 12])


def test_a_cancelled_wait_leaves_no_timer() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        bell = Bell(loop)
        waiting = asyncio.create_task(bell.wait(loop.time() + 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(2)
        began = loop.time()
        await bell.wait(began + 1)  # the timer that was cancelled did not ring
        assert loop.time() == pytest.approx(began + 1)

    virtual_time.run(run())
