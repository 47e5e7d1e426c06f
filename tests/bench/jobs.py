"""Many short files, through deployed workers and through a simple loop."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tasks import submit_many
from tests.bench.stack import stack
from tests.support import audiofiles, tones

RATE = 16000
DURATION_S = 10.0
WORKERS = 2
SESSIONS = 8  # sessions of each worker: the default


def make(folder: Path, count: int, duration_s: float = DURATION_S) -> list[Path]:
    """Write `count` different files, 16 kHz mono WAV. Equal files would be one job."""
    folder.mkdir(exist_ok=True)
    sound = tones.encode(tones.speech(duration_s), RATE, duration_s=duration_s)
    sound += np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32) * 0.01
    paths = []
    for number in range(count):
        sound[:32] = [(number >> bit & 1) * 0.01 for bit in range(32)]
        paths.append(audiofiles.write_signal(folder / f"{number:05d}.wav", sound, RATE))
    return paths


def throughput(
    url: str,
    files: Sequence[Path],
    *,
    workers: int = WORKERS,
    processes: int = 1,
    sessions: int = SESSIONS,
    warm_up: Sequence[Path] = (),
) -> dict[str, Any]:
    """Return the files per second, from the submission of one batch to the end of its last job. `processes`,
    `sessions`: of each worker, and of each of its processes. `warm_up`: files that are transcribed first, so
    that the measurement excludes the modules and models that a process loads for its first job."""
    with stack(url, workers=workers, processes=processes, speed="max", worker_sessions=str(sessions)) as running:
        if warm_up:
            submit_many(warm_up, out_dir=running.folder / "out", settings=running.settings).wait(300)
        used, began = running.cpu_s(), time.time()
        batch = submit_many(files, out_dir=running.folder / "out", formats=("json",), settings=running.settings)
        submitted = time.time()
        batch.jobs[-1].wait(900)  # wait for one job only, so that Redis has little other work
        status = batch.wait(300)
        used = running.cpu_s() - used
    if status.counts != {"done": len(files)}:
        raise RuntimeError(f"not every job is done: {status.counts}")
    elapsed_s = max(job.ended_at or 0.0 for job in status.jobs) - began
    return {
        "files": len(files),
        "workers": workers,
        "processes": processes,
        "sessions": sessions,
        "files_per_s": len(files) / elapsed_s,
        "submit_s": submitted - began,
        "elapsed_s": elapsed_s,
        "worker_cpu_ms": used / len(files) * 1000,
    }
