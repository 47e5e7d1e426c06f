"""Starts, checks and ends one process of the embedded stack, which runs under `tasks.embedded.supervisor`."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from worker.errors import StackError

POLL_S: Final = 0.02
_GUARD: Final = str(Path(__file__).with_name("supervisor.py"))


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    """The supervisor. It ends when the child ends, with the child's exit code."""
    log: Path
    grace_s: float

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        grace_s: float,
        orphan_s: float = 0.0,
        cwd: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Self:
        """Start `command` under a supervisor. Its output is written to `log`. `grace_s`: seconds from SIGTERM to
        SIGKILL. `orphan_s`: seconds that the command may continue to run after this process was killed."""
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603  our own command
                [sys.executable, "-I", "-S", _GUARD, str(grace_s), str(orphan_s), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                cwd=cwd,
                pass_fds=pass_fds,
                start_new_session=True,  # so that Ctrl-C in the terminal signals only this process
            )
        return cls(name, process, log, grace_s)

    def check(self) -> None:
        """Check that the process still runs. Raises StackError with the end of its log if it has ended."""
        code = self.process.poll()
        if code is not None:
            raise StackError(
                f"the {self.name} process ended by itself (exit {code}); the end of {self.log}:\n{self.end_of_log()}"
            )

    async def wait_until_ready(self, ready: Callable[[], bool]) -> None:
        while not ready():
            self.check()
            await asyncio.sleep(POLL_S)

    def end_of_log(self, lines: int = 15) -> str:
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])

    def request_stop(self, word: str = "stop") -> None:
        """Request that the supervisor ends the process. The word `stop` requests SIGTERM, and SIGKILL after the grace
        period. The word `kill` requests SIGKILL at once. Does not wait for the end."""
        stdin = self.process.stdin
        if stdin is None or stdin.closed:
            return
        with suppress(OSError):  # the supervisor has already ended
            stdin.write(word.encode())
            stdin.flush()
        with suppress(OSError):
            stdin.close()

    async def wait_ended(self) -> None:
        """Wait until the process has ended. Call `request_stop` before. A supervisor that hangs is killed; on Linux,
        the kernel then also kills its command."""
        deadline = time.monotonic() + self.grace_s + 2.0
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                self.process.kill()
            await asyncio.sleep(POLL_S)
