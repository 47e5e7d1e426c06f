"""The wake-up primitive of a session's tasks."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import virtual_time
from worker.realtime.wakeup import Wakeup


def test_a_wait_ends_when_set_or_at_its_deadline() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        wakeup, ended = Wakeup(loop), []
        wakeup.set()
        await wakeup.wait(loop.time() + 5)  # set before: at once
        ended.append(loop.time())
        await wakeup.wait(loop.time() + 5)  # each `set` ends one wait only
        ended.append(loop.time())
        loop.call_later(2, wakeup.set)
        loop.call_later(2, wakeup.set)
        await wakeup.wait()
        ended.append(loop.time())
        await wakeup.wait(loop.time() + 5)
        ended.append(loop.time())
        return ended

    first, *later = virtual_time.run(run())
    assert [at - first for at in later] == pytest.approx([5, 7, 12])


def test_a_cancelled_wait_leaves_no_timer() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        wakeup = Wakeup(loop)
        waiting = asyncio.create_task(wakeup.wait(loop.time() + 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(2)
        began = loop.time()
        await wakeup.wait(began + 1)  # the cancelled timer did not set it
        assert loop.time() == pytest.approx(began + 1)

    virtual_time.run(run())
