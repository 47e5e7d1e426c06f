"""A Celery prefork worker as in Celery's examples. It has one process per session, and its task is the client loop of
the API page.

Not part of the product; the benchmark compares the product with it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import redis
import soundfile
from celery import Celery

from tests.bench import naive
from tests.bench.machine import ROOT, environment
from tests.support.redis_server import Valkey
from tests.support.wait import wait_until

app = Celery("tests.bench.prefork", broker=os.environ.get("BENCH_BROKER", "redis://"))
app.conf.task_ignore_result = True
DONE = "bench:done"
Send = Callable[..., None]


@app.task  # type: ignore[untyped-decorator]
def transcribe(path: str, url: str, paced: bool) -> None:
    asyncio.run(naive.with_async(naive.chunks(path), url, paced=paced))
    with redis.Redis.from_url(app.conf.broker_url) as raw:
        raw.incr(DONE)


@contextmanager
def _worker(processes: int) -> Iterator[tuple[Send, redis.Redis, list[psutil.Process]]]:
    def send(*args: object) -> None:
        client.send_task(transcribe.name, args)

    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        valkey = Valkey(Path(folder))
        client = Celery(broker=valkey.url, set_as_current=False)
        command = [sys.executable, "-m", "celery", "-A", "tests.bench.prefork", "worker", "-c", str(processes)]
        worker = subprocess.Popen(
            [*command, "--loglevel", "ERROR", "--without-gossip", "--without-mingle"],
            env={**environment(), "BENCH_BROKER": valkey.url},
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        found = psutil.Process(worker.pid)
        try:
            wait_until(lambda: len(found.children()) == processes, "the processes are there", timeout_s=60)
            with redis.Redis.from_url(valkey.url) as raw:
                yield send, raw, [found, *found.children()]
        finally:
            worker.terminate()
            worker.wait(60)
            valkey.stop()


def _cpu_s(processes: Sequence[psutil.Process]) -> float:
    return sum(t.user + t.system for t in (process.cpu_times() for process in processes))


def throughput(url: str, files: Sequence[Path], processes: int) -> dict[str, Any]:
    """Return files per second and s/h at full speed."""
    audio_s = sum(soundfile.info(str(path)).duration for path in files)
    with _worker(processes) as (send, raw, members):
        used, began = _cpu_s(members), time.monotonic()
        for path in files:
            send(str(path), url, False)
        wait_until(lambda: int(raw.get(DONE) or 0) == len(files), "all are done", timeout_s=600, poll_s=0.05)
        elapsed_s, used = time.monotonic() - began, _cpu_s(members) - used
    return {"files_per_s": len(files) / elapsed_s, "cpu_s_per_h": used * 3600 / audio_s, "processes": processes}


def session_kb(url: str, path: Path, processes: int) -> float:
    """Return the private memory of a process that streams at real time, in KB."""
    with _worker(processes) as (send, _, members):
        for _ in range(processes):
            send(str(path), url, True)
        time.sleep(5)  # stream for a while
        kb = [process.memory_full_info().uss / 1024 for process in members[1:]]
        for process in members[1:]:
            process.kill()
    return median(kb)
