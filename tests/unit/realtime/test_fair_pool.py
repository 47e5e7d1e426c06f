"""The sessions of one process are shared fairly between its jobs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.support.wait import allowed_s
from worker.realtime.fair_pool import FairPool
from worker.realtime.slots import UnlimitedSlots


class Session:
    """Requests a slot at the start, and releases it in `end`."""

    def __init__(self, pool: FairPool, job: str) -> None:
        self.open = asyncio.Event()
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._run(pool, job))

    async def _run(self, pool: FairPool, job: str) -> None:
        async with pool.slot(job):
            self.open.set()
            await self.done.wait()

    async def end(self) -> None:
        self.done.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_open_sessions_never_exceed_the_limit() -> None:
    pool = FairPool(3, UnlimitedSlots())
    sessions = [Session(pool, "a") for _ in range(5)]
    await settle()
    assert [s.open.is_set() for s in sessions] == [True] * 3 + [False] * 2
    await sessions[1].end()
    await settle()
    assert sum(s.open.is_set() for s in sessions) == 4
    for session in sessions:
        await session.end()


async def test_the_job_with_fewer_sessions_is_next() -> None:
    pool = FairPool(3, UnlimitedSlots())
    long = [Session(pool, "long") for _ in range(10)]
    await settle()
    short = Session(pool, "short")
    await settle()
    assert not short.open.is_set()
    await long[0].end()
    await asyncio.wait_for(short.open.wait(), allowed_s(1))
    await settle()
    assert not long[3].open.is_set()
    for session in (*long, short):
        await session.end()


async def test_a_job_with_many_sessions_makes_room_once_per_waiting_session() -> None:
    pool = FairPool(4, UnlimitedSlots())
    long = [Session(pool, "long") for _ in range(6)]
    await settle()
    assert not pool.make_room("long")  # those that wait are its own
    others = [Session(pool, "one"), Session(pool, "two")]
    await settle()
    assert [pool.make_room("long") for _ in range(6)].count(True) == 2
    for session in long[:2]:
        await session.end()
    await settle()
    assert all(s.open.is_set() for s in others)
    assert not pool.make_room("long")
    for session in (*long, *others):
        await session.end()


async def test_a_job_never_loses_its_only_session() -> None:
    pool = FairPool(1, UnlimitedSlots())
    first = Session(pool, "a")
    await settle()
    second = Session(pool, "b")
    await settle()
    assert not pool.make_room("a")
    await first.end()
    await asyncio.wait_for(second.open.wait(), allowed_s(1))
    await second.end()


@pytest.mark.parametrize("cancelled", [1, 2])
async def test_a_cancelled_wait_leaves_the_slot_free(cancelled: int) -> None:
    pool = FairPool(1, UnlimitedSlots())
    sessions = [Session(pool, name) for name in "abcd"]
    await settle()
    sessions[cancelled].task.cancel()
    sessions[0].done.set()
    rest = [s for i, s in enumerate(sessions) if i not in (0, cancelled)]
    await asyncio.wait_for(rest[0].open.wait(), allowed_s(1))
    await rest[0].end()
    await asyncio.wait_for(rest[1].open.wait(), allowed_s(1))
    await rest[1].end()
    async with AsyncExitStack() as stack:  # the slot is free again
        await asyncio.wait_for(stack.enter_async_context(pool.slot("e")), allowed_s(1))
