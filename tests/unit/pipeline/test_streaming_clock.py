"""The clock of a job's streaming runs only while the job has a slot."""

from __future__ import annotations

import asyncio

from tests.support.virtual_time import run
from worker.pipeline.streaming_clock import StreamingClock
from worker.realtime.slots import UnlimitedSlots


def test_only_the_time_with_a_slot_counts_and_sessions_at_once_count_once() -> None:
    async def work() -> None:
        clock = StreamingClock(UnlimitedSlots())
        assert clock.streaming_s == 0.0

        async def session(wait_s: float, open_s: float) -> None:
            await asyncio.sleep(wait_s)
            async with clock.slot("job"):
                await asyncio.sleep(open_s)

        await asyncio.gather(session(10, 5), session(12, 5), session(30, 2))  # 10 to 17 and 30 to 32
        assert round(clock.streaming_s, 3) == 9.0

    run(work())


def test_a_demanded_pause_does_not_count() -> None:
    async def work() -> None:
        clock = StreamingClock(UnlimitedSlots())
        await clock.pause(60)
        async with clock.slot("job"):
            await asyncio.sleep(1)
            assert round(clock.streaming_s, 3) == 1.0
        await asyncio.sleep(7)
        assert round(clock.streaming_s, 3) == 1.0

    run(work())
