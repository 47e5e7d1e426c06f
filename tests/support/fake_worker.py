"""A real Celery worker with a fake pipeline: it transcribes nothing. The name of the source determines what a job does.

`ok-3.wav` commits 3 segments without delay; `slow-200.wav` commits 200, one every 50 ms; `damaged.wav` raises a
SourceError; `bug.wav` raises an exception that is not expected; `die.wav` kills the worker process after one commit;
`gate.wav` waits until a file named `open` exists in its folder. A later attempt at a job continues after the segments
that earlier attempts committed.

    python -m tests.support.fake_worker [-c N] ...        takes the arguments of `celery worker`
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from typing import Any

from tasks.app import app
from tasks.execution import process_lifecycle
from tasks.execution.message_handler import MessageHandler
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import async_wait_until
from worker.errors import DamagedSource
from worker.job_progress import Progress
from worker.pipeline.job import Job
from worker.settings import Settings
from worker.transcript.model import Transcript

SLOW_S = 0.05


async def pipeline(job: Job, *, settings: Settings, log: Any, listener: Any, slots: Any) -> Transcript:
    source = job.source.path
    kind, _, count = source.stem.partition("-")
    if kind == "damaged":
        raise DamagedSource(f"{source}: no audio in it; record it again")
    if kind == "bug":
        raise ZeroDivisionError("a bug")
    total = int(count or 1) if kind != "gate" else 1
    segments = list(job.resume.committed)
    for number in range(len(segments), total):
        if kind == "slow":
            await asyncio.sleep(SLOW_S)
        if kind == "gate":
            await async_wait_until(source.with_name("open").exists, "the gate opens", timeout_s=300, poll_s=SLOW_S)
        segment = a_segment(f"word {number}", number, number + 1)
        await log.commit(segment)
        segments.append(segment)
        listener.committed(segment)
        listener.progress(Progress(total, number + 1, number + 1, ""))
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
    return a_transcript(job.id, tuple(segments))


if __name__ == "__main__":
    process_lifecycle.MessageHandler = functools.partial(MessageHandler, pipeline=pipeline)  # type: ignore[misc,assignment]
    app.worker_main(["--quiet", "worker", "--loglevel", "INFO", "--without-mingle", *sys.argv[1:]])
