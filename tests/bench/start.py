"""Measures start-up times: imports, and the time from the start of a worker or a run to the first chunk at the sink."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tasks import submit
from tests.bench.machine import ROOT, environment, stats
from tests.bench.stack import KEY, stack


def import_s(statement: str, times: int) -> float:
    """Return the median seconds of `python -c statement`, minus those of an empty program."""

    def once(program: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], env=environment(), cwd=ROOT, check=True)
        return time.perf_counter() - began

    once(statement)
    return statistics.median(once(statement) - once("pass") for _ in range(times))


def worker_s(url: str, path: Path) -> float:
    """Return the seconds from the start of `stt-batch worker`, with a queued job, to the first chunk at the sink."""
    with stack(url, workers=0, speed="max") as started:
        handle = submit(path, settings=started.settings)
        began = started.launch()
        assert handle.wait(60).state == "done"
        return _first_arrival(url) - began


def run_s(url: str, path: Path) -> float:
    """Return the seconds from the start of `stt-batch run` with its queue and worker to the first chunk at the sink."""
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        program = "from tasks.cli import main; main()"
        arguments = ["run", str(path), "--url", url, "--out", folder, "--speed", "max", "--json"]
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**environment(), "STT_API_KEY": KEY},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=120,
        )
    return _first_arrival(url) - began


def _first_arrival(url: str) -> float:
    return float(min(at for one in stats(url) for at in one["arrivals"]))
