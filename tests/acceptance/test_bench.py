"""Runs the short benchmark. Large changes of the cost of streaming are detected by ratios of two figures of the same
run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench import jobs, machine, table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
# At least a fifth above the measured values (1.4 and 18, see the page about performance), because ratios vary on a busy
# machine.
MAX_RATIOS = {table.FLAC: 1.9, table.WAV: 22.0}


def short(tmp_path: Path, *parts: str) -> dict[str, Any]:
    only = [argument for part in parts for argument in ("--only", part)]
    command = [sys.executable, "-m", "tests.bench", "--short", "--json", tmp_path / "found.json", *only]
    subprocess.run(command, check=True, timeout=300, stdout=subprocess.DEVNULL)
    measured: dict[str, Any] = json.loads((tmp_path / "found.json").read_text())["measured"]
    return measured


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_streaming_costs_little_more_than_its_stages_and_less_than_a_simple_loop(tmp_path: Path) -> None:
    found = short(tmp_path, "whole", "jobs", "beside-loop")
    loop = found["beside-loop"]["loop"]
    for name, most in MAX_RATIOS.items():
        assert found["whole"][name]["ratio"] < most, found["whole"][name]
        assert found["whole"][name]["s_per_h"] < 1.2 * loop[name], found
    # Jobs through Redis and Celery, with durable records, are about as fast as a loop over the files.
    assert found["jobs"]["files_per_s"] > 0.8 * loop["files_per_s"], found


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    minute, hour = short(tmp_path, "memory")["memory"]["peak_mb"]
    assert hour < 1.4 * minute  # an hour has 7,200 words, which stay in memory


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_cost_as_much_cpu_per_file_as_one(tmp_path: Path, processes: int) -> None:
    """Excludes the start of the processes, and the modules and models that they load for the first job."""
    files = jobs.make(tmp_path / "in", 290)
    cost = {}
    with machine.sink() as url:
        for count in (1, processes):
            found = jobs.throughput(url, files[40:], warm_up=files[:40], workers=1, processes=count)
            cost[count] = found["worker_cpu_ms"]
    assert cost[processes] <= 1.1 * cost[1], cost


def test_the_table_compares_figures_with_their_targets() -> None:
    jobs = {"files_per_s": 64.0, "worker_cpu_ms": 6.0}
    measured = {"jobs": jobs, "tail": {"median_s": 3.4}, "start": {"worker_s": 0.9, "import_s": 0.3}}
    assert [(one["figure"], one["verdict"]) for one in table.judged(measured)] == [
        ("end of audio to transcript stored", "missed"),
        ("worker start to first chunk", "aim"),
        ("`from tasks import submit`", "at least"),
        ("1,000 files of 10 s, 2 workers", "at least"),
        ("CPU of the workers per file of 10 s", "at least"),
    ]
    assert "| 1,000 files of 10 s, 2 workers | 64 files/s | ≥ 30 | ≥ 100 | at least |" in table.text(measured)
