"""Many real-time sessions in one process: `python -m tests.bench.live WAY FILE URL FIRST MOST SECONDS`.

Starts FIRST sessions at random times, lets them run for SECONDS, and reads the arrival times of chunks from the sink.
Then it adds sessions step by step, and measures each step for SECONDS. A step that was late is measured a second time.
The program stops at MOST sessions, or when two steps in a row were late in both measurements.

The lateness of a chunk is measured against the earliest chunk of the same session since the current step began. WAY is
`ours`, `stages` (only decoding, mixing, resampling, base64 and writing) or a way of `tests.bench.naive`.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import uvloop

from tests.bench import frame_loop, naive
from tests.bench.frame_cost import PATIENT
from tests.bench.machine import cpu_s, memory_kb, tell
from tests.support.file_hash import sha256_file
from tests.support.measured_run import CountingLog
from worker.pipeline.job import Job
from worker.pipeline.run import run
from worker.settings import load
from worker.storage.address import from_path

START_S = 0.04  # start-up time allowed per session; one core needs less
SETTLE_S = 3.0
SETTLES = 8
STEP = 1.06
OURS = "ours"
STAGES = "stages"


class Sessions:
    """The streaming sessions, and the arrival times of their chunks."""

    def __init__(self, way: str, path: Path, url: str) -> None:
        self._way, self._path, self._url = way, path, url
        self._settings = load({"STT_URL": url, "STT_API_KEY": "bench", **PATIENT})
        self.frame_s = self._settings.frame_s if way in (OURS, STAGES) else naive.CHUNK_S
        self._tasks: list[asyncio.Task[None]] = []
        self._earliest: dict[str, float] = {}
        self._sha256 = sha256_file(path)  # producers send the hash with the job
        self._rng = random.Random(0)

    def __len__(self) -> int:
        return len(self._tasks)

    async def grow(self, count: int) -> None:
        self._earliest.clear()  # after a long stall, a session continues with a later schedule
        more = count - len(self._tasks)
        spread_s = max(1.0, more * START_S)
        for _ in range(more):
            self._tasks.append(asyncio.create_task(self._session(self._rng.uniform(0, spread_s))))
        await asyncio.sleep(spread_s)
        await self.settle()

    async def settle(self) -> None:
        """Wait until all sessions have sent the audio that is due: new sessions have to catch up first."""
        for _ in range(SETTLES):
            step = await self.measure(SETTLE_S)
            if in_time(step) and step["arrived"] < 1.02 and step["core"] < 0.98:
                return

    async def measure(self, seconds: float) -> dict[str, Any]:
        await self._arrivals()
        began, started = time.monotonic(), cpu_s()
        await asyncio.sleep(seconds)
        used, passed = cpu_s() - started, time.monotonic() - began
        memory = memory_kb("VmRSS")
        for task in self._tasks:
            if task.done():
                task.result()
                raise RuntimeError("a session ended early; the file is too short")
        late, found = await self._arrivals()
        count = len(self._tasks)
        return {
            "sessions": count,
            "streaming": found,
            "late_p50_s": float(np.percentile(late, 50)) if len(late) else None,
            "late_p99_s": float(np.percentile(late, 99)) if len(late) else None,
            "late_max_s": float(late.max()) if len(late) else None,
            "arrived": len(late) / (count * passed / self.frame_s),
            "frame_s": self.frame_s,
            "core": used / passed,
            "cpu_ms_per_s": used / passed / count * 1000,
            "rss_kb": memory,
        }

    async def _session(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        if self._way == OURS:
            job = Job(id="live", source=from_path(self._path), sha256=self._sha256, speed=1.0, language=None)
            log = CountingLog()
            await run(job, settings=self._settings, log=log, listener=log)
        elif self._way == STAGES:
            await frame_loop.stream_decoded(str(self._path), self._url)
        else:
            await naive.stream(self._way, str(self._path), self._url, paced=True)

    async def _arrivals(self) -> tuple[np.ndarray, int]:
        """Return the lateness in seconds of each chunk that arrived since the last call, and the number of sessions."""
        async with aiohttp.ClientSession() as http, http.get(f"{self._url}/stats") as answer:
            found = (await answer.json())["sessions"]
        late = [np.zeros(0)]
        for one in found:
            due = one["before_s"] + np.concatenate([[0.0], np.cumsum(one["audio_s"])[:-1]])
            offset = np.array(one["arrivals"]) - due
            earliest = min(self._earliest.get(one["sid"], np.inf), offset.min())
            self._earliest[one["sid"]] = earliest
            late.append(offset - earliest)
        return np.concatenate(late), len(found)


def in_time(step: dict[str, Any]) -> bool:
    late = step["late_p99_s"]
    return late is not None and late < step["frame_s"] and step["arrived"] > 0.98


async def main(way: str, path: Path, url: str, first: int, most: int, seconds: float) -> None:
    sessions = Sessions(way, path, url)
    steps: list[dict[str, Any]] = []
    count, late = first, 0
    while late < 2:
        await sessions.grow(count)
        steps.append(await sessions.measure(seconds))
        if not in_time(steps[-1]):  # the machine may have stalled; measure again
            await sessions.settle()
            steps.append(await sessions.measure(seconds))
        late = 0 if in_time(steps[-1]) else late + 1
        if count >= most:
            break
        count = min(most, max(count + 1, round(count * STEP)))
    tell({"steps": steps, "most": max((s["sessions"] for s in steps if in_time(s)), default=0)})
    sys.stdout.flush()
    os._exit(0)  # an orderly end of thousands of sessions takes long and is not measured


if __name__ == "__main__":
    uvloop.run(
        main(sys.argv[1], Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6]))
    )
