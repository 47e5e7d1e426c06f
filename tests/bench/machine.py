"""Facts about the machine, and processes with measured resources."""

from __future__ import annotations

import json
import os
import platform
import re
import resource
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_LIBRARIES = (
    "numpy",
    "soundfile",
    "soxr",
    "aiohttp",
    "python-socketio",
    "python-engineio",
    "orjson",
    "pybase64",
    "uvloop",
)


def cpu_s() -> float:
    """Return user and system time of this process with all its threads, in seconds."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def memory_kb(field: str) -> int:
    """Return `VmRSS` or `VmHWM` of this process, in KB."""
    match = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match.group(1))


def describe() -> dict[str, Any]:
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu.group(1) if cpu else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def load() -> float:
    """Return the mean number of runnable processes over the last minute."""
    return round(os.getloadavg()[0], 2)


def environment() -> dict[str, str]:
    """Return the environment without our settings, with one thread for libraries that start one per core."""
    unwanted = ("STT_", "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED")
    env = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    return {
        **env,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        # Use compiled modules, as an installed program does, but store them outside the checkout.
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "stt-bench-pycache"),
    }


def measure(module: str, *arguments: object, core: int | None = None, timeout_s: float = 900) -> dict[str, Any]:
    """Run `python -m module arguments` and return the JSON of its last line."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    with on_core(core):
        done = subprocess.run(
            command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, timeout=timeout_s, check=True
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def stats(url: str) -> list[dict[str, Any]]:
    """Return the chunks that arrived at a sink since the last call, by session."""
    with urllib.request.urlopen(f"{url}/stats") as answer:  # noqa: S310  our own sink
        found: list[dict[str, Any]] = json.load(answer)["sessions"]
    return found


def tell(result: dict[str, Any]) -> None:
    """Print the result of a measuring process as its last line, which `measure` reads."""
    sys.stdout.write(json.dumps(result) + "\n")


@contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Pin processes that are started in this context to one of the available cores, if there are several."""
    cores = sorted(os.sched_getaffinity(0))
    if core is None or len(cores) < 2:
        yield
        return
    os.sched_setaffinity(0, {cores[core]})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def sink(core: int | None = None, pause_s: float | None = None, *, wall: bool = False) -> Iterator[str]:
    """Start a sink in a separate process. Yields the address of the sink."""
    options = [] if pause_s is None else [str(pause_s), *(["wall"] if wall else [])]
    command = [sys.executable, "-m", "tests.bench.sink", *options]
    with on_core(core):
        process = subprocess.Popen(
            command, env=environment(), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    assert process.stdin
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
