"""Runs workers with a fake pipeline (`tests.support.fake_worker`), and other programs with the same settings.

They use no real-time service. Leases are short, so that other workers take over a killed worker's jobs within seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tests.support.fleet import environment
from tests.support.forked_process import ForkedProcess, start_process


@dataclass
class StandInWorkers:
    """Starts processes whose output is appended to one file, `worker.log` in `folder`. `close` kills them."""

    folder: Path
    redis_url: str
    started: list[ForkedProcess] = field(default_factory=list)

    @property
    def log(self) -> Path:
        return self.folder / "worker.log"

    def text(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def start(self, *command: str, **settings: str) -> ForkedProcess:
        """Start a worker with the Celery name `wN@test`. If `command` is given, start `python -m COMMAND` instead.
        `settings`: additional environment variables."""
        command = command or ("tests.support.fake_worker", "-n", f"w{len(self.started)}@test")
        given = {
            "STT_REDIS_URL": self.redis_url,
            "STT_WORKER_SESSIONS": "4",
            "STT_URL": "http://127.0.0.1:1",
            "STT_API_KEY": "key",
            "STT_LEASE_S": "4",
            "STT_LEASE_RENEW_S": "1",
            "STT_REAP_INTERVAL_S": "0.5",
            "C_FORCE_ROOT": "1",
            **settings,
        }
        self.started.append(start_process(*command, env=environment(**given), log=self.log))
        return self.started[-1]

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.wait(20)
