"""How long starting takes: imports, and a whole run from its start to its first chunk at the sink."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.bench.machine import ROOT, environment


def import_s(statement: str, times: int) -> float:
    """Median wall seconds that `python -c statement` takes longer than an empty program."""

    def once(program: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], env=environment(), cwd=ROOT, check=True)
        return time.perf_counter() - began

    once(statement)
    return statistics.median(once(statement) - once("pass") for _ in range(times))


def first_chunk_s(url: str, path: Path) -> float:
    """Seconds from the start of `stt-batch run`, its queue and its worker, to the first chunk at the sink."""
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        program = "from tasks.cli import main; main()"
        arguments = ["run", str(path), "--url", url, "--out", folder, "--speed", "max", "--json"]
        began = time.monotonic()
        subprocess.run(
            [sys.executable, "-c", program, *arguments],
            env={**environment(), "STT_API_KEY": "bench"},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=120,
        )
    with urllib.request.urlopen(f"{url}/stats") as answer:  # noqa: S310  our own sink
        arrivals = [at for one in json.load(answer)["sessions"] for at in one["arrivals"]]
    return float(min(arrivals)) - began
