"""`stt-batch run` with its embedded recognizer, and faster-whisper on the same files in the same minute."""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.machine import ROOT, environment


@dataclass(frozen=True, slots=True)
class Cost:
    """Wall time and CPU time of a program with all processes that it started, in seconds, and its standard output."""

    wall_s: float
    cpu_s: float
    output: str


def program(*command: str, expected: Sequence[int] = (0,)) -> Cost:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = {name: value for name, value in environment().items() if not name.startswith(("OMP_", "OPENBLAS_"))}
    done = subprocess.run(
        command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=3600, check=False
    )
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in expected:
        raise RuntimeError(f"{' '.join(command[:6])} ended with {done.returncode}: {done.stderr[-2000:]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, used, done.stdout)


def command_line(*arguments: str) -> Cost:
    """Run `stt-batch` in a new process."""
    return program(sys.executable, "-P", "-m", "tasks.cli", *arguments)


def ours(paths: Sequence[Path]) -> tuple[Cost, dict[str, str]]:
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        cost = command_line("run", *map(str, paths), "--out", folder, "--format", "json", "--json")
        found = [json.loads(path.read_text("utf-8")) for path in Path(folder).glob("*.json")]
    return cost, {
        one["source"]["name"]: " ".join(segment["text"] for segment in one["segments"])
        for one in found
        if "segments" in one
    }


def peer(way: str, paths: Sequence[Path]) -> tuple[Cost, dict[str, str]]:
    cost = program(sys.executable, "-m", "tests.bench.peer", way, *map(str, paths))
    texts: dict[str, str] = json.loads(cost.output.splitlines()[-1])["texts"]
    return cost, texts


def compare(
    paths: Sequence[Path], way: str, times: int, percent: Callable[[Mapping[str, str]], float] | None = None
) -> dict[str, float]:
    """Run both alternately and return the medians. `percent`: computes the error rate of texts by file name."""
    runs = [(ours(paths), peer(way, paths)) for _ in range(times)]
    found = {
        "wall_ratio": statistics.median(mine.wall_s / other.wall_s for (mine, _), (other, _) in runs),
        "cpu_ratio": statistics.median(mine.cpu_s / other.cpu_s for (mine, _), (other, _) in runs),
        "wall_s": statistics.median(mine.wall_s for (mine, _), _ in runs),
        "cpu_s": statistics.median(mine.cpu_s for (mine, _), _ in runs),
        "peer_wall_s": statistics.median(other.wall_s for _, (other, _) in runs),
        "peer_cpu_s": statistics.median(other.cpu_s for _, (other, _) in runs),
    }
    if percent is not None:
        found["percent"] = statistics.median(percent(texts) for (_, texts), _ in runs)
        found["peer_percent"] = percent(runs[0][1][1])
    return found
