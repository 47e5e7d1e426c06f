"""Runs several worker processes: starts them, replaces those that end or are stuck, and ends all of them together.

Each process is a complete `stt-batch worker` with its own event loop. They share nothing but Redis, so a process that
dies takes no other with it, and its jobs continue in the others when their leases expire. This process only waits: it
writes one health file, serves one page of metrics, and all processes write to its standard error.
"""

from __future__ import annotations

import asyncio
import os
import time
from asyncio.subprocess import Process
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL, SIGTERM
from subprocess import PIPE
from typing import Final

import structlog

from tasks.child_python import cli_command, python_path
from tasks.observability.health_state import HealthState
from tasks.observability.heartbeat import BEAT_S
from tasks.worker_processes import merged_health
from tasks.worker_processes.restart_policy import RestartPolicy
from worker.atomic_file import replace_file
from worker.end_signals import end_signals

logger: Final = structlog.get_logger(__name__)
STOP_TIMEOUT_S: Final = 25.0
"""Maximum seconds from SIGTERM to SIGKILL. A worker ends within 8 s; the grace period of containers is 30 s."""
START_TIMEOUT_S: Final = 120.0
"""Maximum seconds from the start of a process to its first health file."""
STUCK_S: Final = 30.0
"""Seconds without a heartbeat after which a process is replaced."""
POLL_S: Final = 0.2
SHUTTING_DOWN: Final = "it is shutting down"


@dataclass(slots=True)
class Child:
    number: int
    process: Process
    folder: Path
    started: float

    @property
    def health_file(self) -> Path:
        return self.folder / f"{self.number}.health"

    @property
    def is_ready(self) -> bool:
        """Whether the process has accepted jobs."""
        return (self.folder / f"{self.number}.ready").exists()

    def health(self) -> HealthState | None:
        """Return the last health state, or None before the first one."""
        try:
            return HealthState.read(self.health_file)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def stuck(self, now: float) -> str | None:
        """Return why the process counts as stuck, or None."""
        state = self.health()
        if state is not None:
            return state.stuck(now, STUCK_S)
        return None if now - self.started < START_TIMEOUT_S else f"it has not started within {START_TIMEOUT_S:.0f} s"

    def signal(self, number: int) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)


class Supervisor:
    """Runs `count` processes until a signal, or until they cannot be started."""

    def __init__(
        self, count: int, folder: Path, environ: Mapping[str, str], health_file: str, on_ready: Callable[[], object]
    ) -> None:
        """`folder`: a folder for the files of the processes. `environ`: their environment. `health_file`: the health
        file of the whole worker, or empty. `on_ready`: called once, when all processes accept jobs."""
        self._count, self._folder, self._environ = count, folder, dict(environ)
        self._health_file, self._on_ready = health_file, on_ready
        self._policy = RestartPolicy()
        self._children: dict[int, Child] = {}
        self._stop = asyncio.Event()
        self._status = 0

    @property
    def pids(self) -> list[int]:
        """Ids of the running processes. May be called from any thread."""
        return [child.process.pid for child in self._running()]

    async def run(self) -> int:
        """Run until a signal. Returns the exit status: 0 after a signal, otherwise that of a process that cannot
        start."""
        for number in end_signals():
            asyncio.get_running_loop().add_signal_handler(number, self._end, 0)
        try:
            async with asyncio.TaskGroup() as group:
                watching = group.create_task(self._watch())
                await asyncio.gather(*(group.create_task(self._replace(n)) for n in range(1, self._count + 1)))
                watching.cancel()
        finally:
            if self._health_file:
                Path(self._health_file).unlink(missing_ok=True)  # noqa: ASYNC240  nothing else runs any more
        return self._status

    def _end(self, status: int) -> None:
        """End all processes. Further calls change nothing."""
        if self._stop.is_set():
            return
        self._status = status
        self._stop.set()
        logger.info("shutting down", processes=self._count)
        self._write_health()
        for child in self._children.values():
            child.signal(SIGTERM)

    async def _replace(self, number: int) -> None:
        """Run the process `number`, and start it again whenever it ends, until the worker ends."""
        while not self._stop.is_set():
            child = await self._start(number)
            await self._until_ended(child)
            if self._stop.is_set():
                return
            await self._after_end(child)

    async def _start(self, number: int) -> Child:
        for name in ("health", "ready"):
            (self._folder / f"{number}.{name}").unlink(missing_ok=True)
        process = await asyncio.create_subprocess_exec(
            *cli_command("worker", "--process", str(number), "--ready-file", str(self._folder / f"{number}.ready")),
            env={
                **self._environ,
                "PYTHONPATH": python_path(),
                "STT_HEALTH_FILE": str(self._folder / f"{number}.health"),
            },
            stdin=PIPE,  # closes when this process ends, also after kill -9; then the child ends as after SIGTERM
            start_new_session=True,  # so that Ctrl-C in the terminal signals only this process
        )
        child = self._children[number] = Child(number, process, self._folder, time.monotonic())
        if self._stop.is_set():
            child.signal(SIGTERM)
        return child

    async def _until_ended(self, child: Child) -> None:
        """Wait for the end of a process. When the worker stops, kill the process after STOP_TIMEOUT_S."""
        ended, stop = asyncio.create_task(child.process.wait()), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({ended, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await asyncio.wait({ended}, timeout=STOP_TIMEOUT_S)
            if not ended.done():
                logger.error("process killed, it did not end in time", process=child.number, seconds=STOP_TIMEOUT_S)
                child.signal(SIGKILL)
            await ended
        finally:
            stop.cancel()

    async def _after_end(self, child: Child) -> None:
        ready, ran_s = child.is_ready, time.monotonic() - child.started
        pause_s = self._policy.pause_s(child.number, was_ready=ready, ran_s=ran_s)
        status, others = child.process.returncode or 0, any(one is not child for one in self._running())
        # Gauges describe a process that exists. Counters stay: the replacement continues them.
        for file in self._folder.glob(f"gauge_*_{child.number}.db"):
            file.unlink(missing_ok=True)
        if self._policy.gives_up(child.number, was_ready=ready, others_run=others):
            logger.error("a process cannot start, the worker ends", process=child.number, status=status)
            self._end(status if status > 0 else 1)
            return
        logger.warning("process ended, it is replaced", process=child.number, status=status, ran_s=round(ran_s, 1))
        try:
            await asyncio.wait_for(self._stop.wait(), pause_s)
        except TimeoutError:
            return

    def _running(self) -> list[Child]:
        # `list` first: the thread of the metrics page calls this while processes are added.
        return [child for child in list(self._children.values()) if child.process.returncode is None]

    # -- health --------------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Check the processes, and write the health file."""
        while True:
            now = time.monotonic()
            for child in [] if self._stop.is_set() else self._running():
                if (problem := child.stuck(now)) is not None:
                    logger.error("process is stuck, it is killed", process=child.number, problem=problem)
                    child.signal(SIGKILL)
            complete = len(self._running()) == self._count and all(child.is_ready for child in self._running())
            if complete and not self._policy.was_complete:
                self._policy.was_complete = True
                self._on_ready()
            self._write_health()
            await asyncio.sleep(BEAT_S if self._policy.was_complete else POLL_S)

    def _write_health(self) -> None:
        if not self._health_file:
            return
        states = dict.fromkeys(range(1, self._count + 1)) | {one.number: one.health() for one in self._running()}
        stopping = SHUTTING_DOWN if self._stop.is_set() else None
        state = merged_health.merged(os.getpid(), time.monotonic(), states, stopping)
        try:
            replace_file(Path(self._health_file), (state.encoded(),), durable=False)
        except OSError as exc:  # the health check reports the outdated file
            logger.warning("health file not written", file=self._health_file, error=str(exc))


__all__ = ["Supervisor"]
