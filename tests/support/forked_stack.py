"""Makes the service and the worker of `stt-batch run` forks, when a test runs the command in its own process.

The forks have no supervisor (`tasks.embedded.supervisor`). So tests of the end of a run must start the command as a
process.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from tasks.embedded.child_process import POLL_S, Child
from tests.support.forked_process import start_process


class ForkedChild(Child):
    """Replaces `tasks.embedded.stack.Child` by forks. Valkey is no Python program, so it is started as usual."""

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str],
        grace_s: float,
        **options: Any,
    ) -> Child | Self:
        if name == "valkey":
            return Child.start(name, command, log=log, environment=environment, grace_s=grace_s, **options)
        _python, *flags, module = command[:4]
        assert flags == ["-P", "-m"]
        log.unlink(missing_ok=True)
        process = start_process(module, *command[4:], env=environment, log=log, folder=Path.cwd())
        return cls(name, process, log, grace_s)

    def request_stop(self, word: str = "stop") -> None:
        self.process.send_signal(signal.SIGKILL if word == "kill" else signal.SIGTERM)

    async def wait_ended(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.grace_s
        while self.process.poll() is None:
            if loop.time() > deadline:
                self.process.kill()
            await asyncio.sleep(POLL_S)
