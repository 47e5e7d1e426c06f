"""A deployment to measure: Valkey with an append-only file, and `stt-batch worker` processes."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.bench.machine import ROOT, environment
from tests.support.redis_server import Valkey
from tests.support.wait import wait_until
from worker.settings import Settings, load

KEY = "bench"


@dataclass
class Stack:
    """A queue with workers. `environ`: environment of workers and producers. Logs and outputs are below `folder`."""

    folder: Path
    environ: dict[str, str]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def settings(self) -> Settings:
        return load(self.environ)

    def launch(self, *arguments: str) -> float:
        """Start one more worker without waiting for it. `arguments`: further options of the command. Returns the
        monotonic time of the start."""
        number = len(self.workers)
        command = [sys.executable, "-m", "tasks.cli", "worker", "--ready-file", str(self._ready(number)), *arguments]
        with (self.folder / f"worker-{number}.log").open("wb") as log:
            began = time.monotonic()
            self.workers.append(
                subprocess.Popen(command, env={**environment(), **self.environ}, cwd=ROOT, stdout=log, stderr=log)
            )
        return began

    def until_ready(self) -> None:
        for number, process in enumerate(self.workers):
            ready = self._ready(number)
            wait_until(lambda p=process, r=ready: r.exists() or p.poll() is not None, "a worker is up", timeout_s=60)
            if process.poll() is not None:
                raise RuntimeError((self.folder / f"worker-{number}.log").read_text()[-2000:])

    def cpu_s(self) -> float:
        """Return the CPU seconds of all workers, with their processes."""
        roots = [psutil.Process(process.pid) for process in self.workers]
        times = [one.cpu_times() for root in roots for one in (root, *root.children(recursive=True))]
        return float(sum(t.user + t.system for t in times))

    def rss_kb(self) -> float:
        """Return the resident memory of the workers, in KB."""
        return sum(psutil.Process(process.pid).memory_info().rss for process in self.workers) / 1024

    def _ready(self, number: int) -> Path:
        return self.folder / f"worker-{number}.ready"


@contextmanager
def stack(url: str, *, workers: int = 1, processes: int = 1, **settings: str) -> Iterator[Stack]:
    """Start all parts but the service at `url`; stop them at the end. `processes`: of each worker. `settings`: names in
    lower case, without STT_."""
    with tempfile.TemporaryDirectory(prefix="stt-bench-") as folder:
        valkey = Valkey(Path(folder))
        given = {"redis_url": valkey.url, "url": url, "api_key": KEY, **settings}
        made = Stack(Path(folder), {f"STT_{name.upper()}": value for name, value in given.items()})
        try:
            for _ in range(workers):
                made.launch("--processes", str(processes))
            made.until_ready()
            yield made
        finally:
            for process in made.workers:
                process.terminate()
            for process in made.workers:
                process.wait(30)
            valkey.stop()
