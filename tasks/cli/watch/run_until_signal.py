"""Runs the work of a `stt-batch watch` until a signal ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from tasks.client.producer import Producer
from worker.end_signals import end_signals
from worker.settings import Settings


async def run_until_signal(
    settings: Settings,
    producer: Producer,
    stop: asyncio.Event,
    work: Coroutine[Any, Any, None],
    *background: Coroutine[Any, Any, None],
) -> None:
    """Run `work`, `background` and the monitor of this process until a signal sets `stop`, then cancel them and close
    `producer`. Raises the error of `work`."""
    from tasks.background.health_and_metrics import Monitor  # noqa: PLC0415

    for number in end_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    monitor = Monitor(settings)
    working, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    tasks = [working, stopped, *map(asyncio.create_task, (monitor.run(), *background))]
    try:
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await producer.close()
        monitor.close()


__all__ = ["run_until_signal"]
