"""Measures the time from the last sound of a file to its transcript in the ledger, at real-time speed."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from tasks import submit
from tests.bench import jobs
from tests.bench.machine import stats
from tests.bench.stack import stack


def run(folder: Path, url: str, times: int) -> dict[str, Any]:
    """Run `times` jobs, one after the other, with a worker and a sink that commits after a pause."""
    seconds = []
    with stack(url, speed="1") as running:
        for path in jobs.make(folder / "tail", times, duration_s=4.0):
            status = submit(path, settings=running.settings).wait(60)
            assert status.state == "done", status.error
            (session,) = stats(url)
            seconds.append((status.ended_at or 0.0) - session["voiced_at"])
    return {"median_s": statistics.median(seconds), "seconds": seconds}
