"""The wake-up primitive of a session's tasks."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable

import pytest
import uvloop

from tests.support import virtual_time
from worker.realtime.timer_grid import MIN_WAIT_S, SLOTS_PER_S
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


def test_the_waits_of_many_sessions_share_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One wake-up of the process serves all sessions whose frames are due in the same slot, at most a slot late."""

    async def run() -> tuple[int, list[float]]:
        loop = asyncio.get_running_loop()
        timers, call_at = [], loop.call_at

        def counted(when: float, *args: object, **kwargs: object) -> asyncio.TimerHandle:
            timers.append(when)
            return call_at(when, *args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(loop, "call_at", counted)
        late = []

        async def wait(until: float) -> None:
            await Wakeup(loop).wait(until)
            late.append(loop.time() - until)

        await asyncio.gather(*(wait(0.25 + number / 1000) for number in range(100)))
        return len(timers), late

    timers, late = virtual_time.run(run())
    assert timers <= 6
    assert all(0 <= one <= 1 / SLOTS_PER_S for one in late)


def test_a_wait_of_less_than_a_frame_is_exact() -> None:
    async def run() -> float:
        loop = asyncio.get_running_loop()
        await Wakeup(loop).wait(0.031)
        return loop.time()

    assert virtual_time.run(run()) == pytest.approx(0.031)


def test_a_cancelled_wait_does_not_end_the_next_one() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        wakeup = Wakeup(loop)
        waiting = asyncio.create_task(wakeup.wait(loop.time() + 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await asyncio.sleep(2)
        began = loop.time()
        await wakeup.wait(began + 1)
        assert loop.time() == pytest.approx(began + 1)

    virtual_time.run(run())


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_closed_event_loop_is_freed_with_its_timers(new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def run() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        await Wakeup(loop).wait(loop.time() + MIN_WAIT_S)
        return weakref.ref(loop)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        loop = runner.run(run())
    del runner
    gc.collect()
    assert loop() is None
