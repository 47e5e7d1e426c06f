"""Runs one job through the whole pipeline at full speed: `python -m tests.bench.whole FILE URL [speed [account]]`.

With `account`, the cost of each stage of the pipeline is measured too, see `tests.bench.frame_cost.Account`; this makes
the whole slower.

CPU time is that of the process from the start of the job to its end; the start of Python is reported separately. The
producer hashes the file, as in a deployment, so the hash is not measured.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from tests.bench import files
from tests.bench.frame_cost import STAGES, Account
from tests.bench.machine import cpu_s, memory_kb, tell
from tests.support.file_hash import sha256_file
from tests.support.measured_run import CountingLog, held_bytes
from worker.pipeline.job import Job
from worker.pipeline.run import run
from worker.settings import load, parse_speed
from worker.storage.address import from_path


async def main(path: str, url: str, speed: str, *, account: bool) -> None:
    settings = load({"STT_URL": url, "STT_API_KEY": "bench"})
    log = CountingLog()
    job = Job(
        id="bench", source=from_path(path), sha256=sha256_file(Path(path)), speed=parse_speed(speed), language=None
    )
    # A worker processes many files, so the modules and the model that the first file loads are not measured.
    warm_up = files.make(Path(path).parent, 0.2, files.WAV)
    await run(
        replace(job, source=from_path(warm_up), sha256=sha256_file(warm_up)), settings=settings, log=log, listener=log
    )
    stages = Account()
    if account:
        for owner, name, stage in STAGES:
            stages.add(owner, name, stage)
    started, began = cpu_s(), time.monotonic()
    transcript = await run(job, settings=settings, log=log, listener=log)
    used = cpu_s() - started
    audio_s = transcript.source.duration
    found = {stage: ns / 1e9 * 3600 / audio_s for stage, ns in stages.ns.items()}
    assert transcript.coverage.sent == audio_s, "not all audio was sent"
    tell(
        {
            "cpu_s_per_h": used * 3600 / audio_s,
            "start_cpu_s": started,
            "elapsed_s": time.monotonic() - began,
            "audio_s": audio_s,
            # Without the transcript, which grows with the words and not with the audio.
            "peak_kb": memory_kb("VmHWM") - held_bytes(transcript) // 1024,
            "stages": {**found, "write, tasks and the rest": used * 3600 / audio_s - sum(found.values())},
        }
    )


if __name__ == "__main__":
    uvloop.run(
        main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "max", account="account" in sys.argv[4:])
    )
