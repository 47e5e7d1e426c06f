"""Runs `stt-batch api` as a process of its own, whose memory a test can measure and which it can kill."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.api import api_settings
from tests.support.fleet import environment
from tests.support.wait import wait_until


class ApiProcess:
    """A running process. `url`: its address. `port`: its port on 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[bytes], url: str) -> None:
        self.process, self.url, self.port = process, url, int(url.rpartition(":")[2])
        self._measured = psutil.Process(process.pid)

    def memory_bytes(self) -> int:
        return int(self._measured.memory_info().rss)

    def cpu_s(self) -> float:
        times = self._measured.cpu_times()
        return float(times.user + times.system)


@contextmanager
def api_process(redis_url: str, folder: Path, **more: str) -> Iterator[ApiProcess]:
    """Start a process with the keys of `tests.support.api` and uploads in `folder`. `more`: further variables."""
    settings, ready = api_settings(redis_url, folder), folder / "ready"
    ready.unlink(missing_ok=True)
    keys = settings.http_keys.get_secret_value()
    environ = environment(STT_REDIS_URL=redis_url, STT_HTTP_KEYS=keys, STT_UPLOADS=settings.uploads, **more)
    command = [sys.executable, "-m", "tasks.cli", "api", "--port", "0", "--ready-file", str(ready)]
    log = folder / "api.log"
    with log.open("ab") as output, subprocess.Popen(command, env=environ, stdout=output, stderr=output) as process:
        try:
            wait_until(
                lambda: (ready.exists() and ready.read_text()) or process.poll() is not None,
                "the API listens",
                timeout_s=120,
            )
            assert process.poll() is None, log.read_text()
            yield ApiProcess(process, ready.read_text())
        finally:
            if process.poll() is None:
                process.terminate()
