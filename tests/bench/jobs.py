"""Many short files through workers as they are deployed: a Valkey that keeps its queue on disk, `stt-batch worker`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import redis

from tasks import submit_many
from tests.bench.machine import ROOT, environment
from tests.support import audiofiles, tones
from tests.support.redis_server import Valkey
from tests.support.wait import wait_until
from worker.settings import load

RATE = 16000
DURATION_S = 10.0


def make(folder: Path, count: int) -> list[Path]:
    """`count` files of ten seconds, 16 kHz mono WAV, no two alike: equal ones would be one job."""
    folder.mkdir(exist_ok=True)
    sound = tones.encode(tones.speech(DURATION_S), RATE, duration_s=DURATION_S)
    sound += np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32) * 0.01
    paths = []
    for number in range(count):
        sound[:32] = [(number >> bit & 1) * 0.01 for bit in range(32)]
        paths.append(audiofiles.write_signal(folder / f"{number:05d}.wav", sound, RATE))
    return paths


@contextmanager
def workers(folder: Path, count: int, **settings: str) -> Iterator[list[psutil.Process]]:
    """`stt-batch worker` processes that take jobs."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(count):
            command = [sys.executable, "-m", "tasks.cli", "worker", "--ready-file", str(folder / f"{number}.ready")]
            with (folder / f"worker-{number}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(command, env={**environment(), **settings}, cwd=ROOT, stdout=log, stderr=log)
                )
        for number, process in enumerate(started):
            ready = folder / f"{number}.ready"
            wait_until(lambda p=process, r=ready: r.exists() or p.poll() is not None, "a worker is up", timeout_s=30)
            if process.poll() is not None:
                raise RuntimeError((folder / f"worker-{number}.log").read_text())
        yield [psutil.Process(process.pid) for process in started]
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def throughput(url: str, files: Sequence[Path], *, processes: int = 2, sessions: int = 16) -> dict[str, Any]:
    """Seconds from the submission of `files` as one batch to the end of the last job."""
    folder = Path(tempfile.mkdtemp(prefix="stt-bench-jobs-"))
    valkey = Valkey(folder)
    given = {
        "STT_REDIS_URL": valkey.url,
        "STT_URL": url,
        "STT_API_KEY": "bench",
        "STT_SPEED": "max",
        "STT_SESSIONS": str(sessions),
    }
    try:
        with redis.Redis.from_url(valkey.url) as raw, workers(folder, processes, **given) as running:
            before = [_cpu_s(process) for process in running]
            began = time.monotonic()
            batch = submit_many(files, out_dir=folder / "out", formats=("json",), settings=load(given))
            submitted = time.monotonic()
            wait_until(
                lambda: raw.zcard("stt:sent") + raw.zcard("stt:leases") == 0, "all jobs end", timeout_s=300, poll_s=0.05
            )
            elapsed_s = time.monotonic() - began
            used = [_cpu_s(process) - was for process, was in zip(running, before, strict=True)]
            commands = raw.info("stats")["total_commands_processed"]
            states = batch.status().counts
        if states != {"done": len(files)}:
            raise RuntimeError(f"not every job is done: {states}; see {folder}")
    finally:
        valkey.stop()
    shutil.rmtree(folder)
    return {
        "files": len(files),
        "workers": processes,
        "sessions": sessions,
        "files_per_s": len(files) / elapsed_s,
        "submit_s": submitted - began,
        "elapsed_s": elapsed_s,
        "worker_cpu_ms": sum(used) / len(files) * 1000,
        "redis_commands": commands / len(files),
    }


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
