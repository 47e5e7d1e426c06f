"""Many sessions at the pace of speech in one process: `python -m tests.bench.live FILE URL SESSIONS SECONDS`.

Starts them over a few seconds at random moments, lets them run, then reads from the sink when every chunk arrived.
Lateness is how much later a chunk arrived than the earliest one of its session promises.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop

from tests.bench.machine import cpu_s, memory_kb, tell
from tests.support.measured_run import CountingLog
from worker.pipeline import Job, run
from worker.settings import Settings, load

START_S = 0.01  # of each session
SETTLE_S = 2.0


async def session(number: int, path: Path, settings: Settings, delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    job = Job(id=f"live-{number}", source=path, speed=1.0, language=None)
    await run(job, settings=settings, log=CountingLog())


async def stats(url: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/stats") as answer:
        found: list[dict[str, Any]] = (await answer.json())["sessions"]
        return found


def lateness(sessions: list[dict[str, Any]]) -> np.ndarray:
    """Seconds, of every chunk."""
    late = []
    for one in sessions:
        due = np.concatenate([[0.0], np.cumsum(one["audio_s"])[:-1]])
        offset = np.array(one["arrivals"]) - due
        late.append(offset - offset.min())
    return np.concatenate(late) if late else np.zeros(0)


async def main(path: Path, url: str, count: int, seconds: float) -> None:
    settings = load({"STT_URL": url, "STT_API_KEY": "bench"})
    spread_s = max(1.0, count * START_S)
    rng = random.Random(count)
    tasks = [
        asyncio.create_task(session(n, path, settings, rng.uniform(0, spread_s))) for n in range(count)
    ]  # fmt: skip
    await asyncio.sleep(spread_s + SETTLE_S)
    failed = [task for task in tasks if task.done()]
    if failed:
        failed[0].result()
        raise RuntimeError("a session ended early; the file is too short")
    await stats(url)
    began, started = time.monotonic(), cpu_s()
    await asyncio.sleep(seconds)
    used, passed = cpu_s() - started, time.monotonic() - began
    memory = memory_kb("VmRSS")
    found = await stats(url)
    late = lateness(found)
    expected = count * passed / settings.frame_s
    tell(
        {
            "sessions": count,
            "streaming": len(found),
            "late_p50_s": float(np.percentile(late, 50)) if len(late) else None,
            "late_p99_s": float(np.percentile(late, 99)) if len(late) else None,
            "late_max_s": float(late.max()) if len(late) else None,
            "arrived": len(late) / expected,
            "frame_s": settings.frame_s,
            "core": used / passed,
            "cpu_ms_per_s": used / passed / count * 1000,
            "rss_kb": memory,
            "chunk_bytes": statistics.fmean(s["text_bytes"] / len(s["arrivals"]) for s in found),
        }
    )
    sys.stdout.flush()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
