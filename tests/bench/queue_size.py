"""The cost of one job in a queue of COUNT jobs: `python -m tests.bench.queue_size COUNT`.

CPU time of this process and of Redis together, so that other load on the machine matters little. Each step is measured
on the same number of jobs, in a queue that has COUNT jobs.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis

from tasks.client.control import Control
from tasks.client.new_spec import make_spec
from tasks.client.producer import Producer
from tests.bench.machine import cpu_s, tell
from tests.support.redis_server import Valkey
from worker.settings import load

MEASURED = 1000


async def measure(count: int, url: str) -> dict[str, Any]:
    producer = Producer(load({"STT_REDIS_URL": url, "STT_QUEUE_MAX": "1000000"}))
    raw = redis.Redis.from_url(url, decode_responses=True)
    specs = [
        (f"job-{number}", make_spec(f"/audio/{number}.wav", out_dir="/out", batch=f"batch-{number // MEASURED}"))
        for number in range(count)
    ]
    empty = raw.info("memory")["used_memory"]

    def used() -> float:
        cpu = raw.info("cpu")
        return cpu_s() + float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])

    async def cost(work: Callable[[], Awaitable[Any]]) -> float:
        """Return the cost of a step for each of the MEASURED jobs, in microseconds."""
        before = used()
        await work()
        return (used() - before) / MEASURED * 1e6

    async def submit(some: list[tuple[str, Any]]) -> None:
        for first in range(0, len(some), MEASURED):
            part = some[first : first + MEASURED]
            await producer.enqueue(part, batch=part[0][1].batch)

    await submit(specs[:-MEASURED])
    names = [identity for identity, _ in specs[-MEASURED:]]
    found = {"submit": await cost(lambda: submit(specs[-MEASURED:]))}
    found["bytes_per_job"] = (raw.info("memory")["used_memory"] - empty) / count
    found["status"] = await cost(lambda: producer.ledger.get_many(names))
    found["list"] = await cost(lambda: producer.ledger.recent_jobs(MEASURED))
    found["reap"] = await cost(lambda: producer.ledger.reap(producer.settings.queue, tries=3, delay_s=1))
    found["cancel"] = await cost(lambda: Control(producer).cancel_jobs(names))
    await producer.close()
    return found


def main(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        valkey = Valkey(Path(folder))
        try:
            tell(asyncio.run(measure(count, valkey.url)))
        finally:
            valkey.stop()


if __name__ == "__main__":
    main(int(sys.argv[1]))
