"""CPU time of a frame of a live session, against a loop that only encodes and writes the same frames.

`python -m tests.bench.frame_cost FILE WAV URL SESSIONS SECONDS TIMES`

WAV: a file of 16 kHz mono, whose frames the loop sends. The session and the loop run alternately in one process, at
real time, to the same sink. Prints the microseconds per frame of both, their ratio, and the microseconds of each stage
of the session. The clock of the stages counts only the CPU time of the thread, so other programs distort it little.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from tests.bench import frame_loop
from tests.bench.machine import cpu_s, tell
from tests.support.file_hash import sha256_file
from tests.support.measured_run import CountingLog
from worker.audio import pcm_frames, resample, voice_activity
from worker.audio.decoding import downmix, libsndfile
from worker.audio.frame_feed import FrameFeed
from worker.audio.voice_activity import VoiceActivityMap
from worker.pipeline.job import Job
from worker.pipeline.run import run
from worker.pipeline.run_progress import RunProgress
from worker.realtime import client, json_codec, streaming
from worker.realtime.session import Session
from worker.settings import load
from worker.storage.address import from_path
from worker.transcript.assemble import Assembler

SPREAD_S = 4.0
SETTLE_S = 2.0
# A busy machine must neither end a handshake early nor switch to polling, which the sink does not offer.
PATIENT = {"STT_TRANSPORT": "websocket", "STT_CONNECT_TIMEOUT_S": "60", "STT_START_TIMEOUT_S": "60"}


class Frames:
    """The number of frames that all sessions have sent, and the CPU time of a frame."""

    def __init__(self, path: Path, plain: Path, url: str) -> None:
        self._settings = load({"STT_URL": url, "STT_API_KEY": "bench", **PATIENT})
        self._path, self._plain, self._url = path, plain, url
        self._sha256 = sha256_file(path)
        self.sent = 0

    def count(self) -> None:
        self.sent += 1

    async def loop(self) -> None:
        await frame_loop.stream(str(self._plain), self._url, self.count)

    async def ours(self) -> None:
        job = Job(id="live", source=from_path(self._path), sha256=self._sha256, speed=1.0, language=None)
        log = CountingLog()
        await run(job, settings=self._settings, log=log, listener=log)

    async def cost_us(
        self, way: Callable[[], Coroutine[Any, Any, None]], sessions: int, seconds: float, begin: Callable[[], None]
    ) -> float:
        """Return the CPU time of one frame in microseconds. `begin` is called when the measurement begins."""
        rng = random.Random(0)

        async def later(delay_s: float) -> None:
            await asyncio.sleep(delay_s)
            await way()

        tasks = [asyncio.create_task(later(rng.uniform(0, SPREAD_S))) for _ in range(sessions)]
        try:
            await asyncio.sleep(SPREAD_S + SETTLE_S)
            begin()
            began, before = cpu_s(), self.sent
            await asyncio.sleep(seconds)
            used, frames = cpu_s() - began, self.sent - before
            for task in tasks:
                if task.done():
                    task.result()
                    raise RuntimeError("a session ended early; the file is too short")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return used / frames * 1e6


class Account:
    """The time of each stage, without that of the stages that it calls."""

    def __init__(self) -> None:
        self.ns: dict[str, int] = defaultdict(int)
        self._inner: list[int] = []

    def add(self, owner: Any, name: str, stage: str) -> None:
        """Measure the function `name` of a module or class as `stage`."""
        original = getattr(owner, name)

        def measured(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0)
            began = time.thread_time_ns()
            try:
                return original(*args, **kwargs)
            finally:
                took = time.thread_time_ns() - began
                self.ns[stage] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        setattr(owner, name, measured)


STAGES = (
    (FrameFeed, "__next__", "cut into frames"),
    (libsndfile._Reader, "read_forward_into", "decode"),
    (downmix.Downmix, "push", "downmix"),
    (resample.StreamResampler, "process", "resample"),
    (pcm_frames, "to_pcm16", "int16"),
    (voice_activity, "_measured", "levels"),
    (streaming.Timeline, "add_audio", "timeline"),
    (VoiceActivityMap, "add", "voice activity"),
    (streaming.pybase64, "b64encode_as_string", "base64"),
    (json_codec, "encode", "JSON"),
    (client, "free_websocket", "choose the websocket"),
    *((Session, name, "state machine") for name in ("sending", "sent", "send_at", "tick", "deadline", "message")),
    (streaming.messages, "parse", "read messages"),
    (Assembler, "place", "words of commits"),
    (VoiceActivityMap, "foreground_s", "sound under commits"),
    (RunProgress, "update", "progress"),
)
"""Functions that are not coroutines: a coroutine's time would include that of other tasks."""


async def main(path: Path, plain: Path, url: str, sessions: int, seconds: float, times: int) -> None:
    frames = Frames(path, plain, url)
    sent = Session.sent

    def counted(session: Session, *args: Any, **kwargs: Any) -> None:
        frames.count()
        sent(session, *args, **kwargs)

    Session.sent = counted  # type: ignore[method-assign]
    pairs = [
        [await frames.cost_us(way, sessions, seconds, lambda: None) for way in (frames.ours, frames.loop)]
        for _ in range(times)
    ]
    account = Account()
    for owner, name, stage in STAGES:
        account.add(owner, name, stage)
    before = 0

    def begin() -> None:
        nonlocal before
        before = frames.sent
        account.ns.clear()

    whole = await frames.cost_us(frames.ours, sessions, seconds, begin)
    stages = {stage: ns / (frames.sent - before) / 1000 for stage, ns in account.ns.items()}
    loop_us = statistics.median(loop for _, loop in pairs)
    tell(
        {
            "us": statistics.median(ours for ours, _ in pairs),
            "loop_us": loop_us,
            "ratio": statistics.median(ours / loop for ours, loop in pairs),
            "stages": {**stages, "write, timers, tasks and the rest": whole - sum(stages.values())},
        }
    )


if __name__ == "__main__":
    file, plain_file, address = sys.argv[1:4]
    uvloop.run(main(Path(file), Path(plain_file), address, int(sys.argv[4]), float(sys.argv[5]), int(sys.argv[6])))
