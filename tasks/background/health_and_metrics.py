"""What a process that works on the queue tells about itself while it runs: its health file and its metrics."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from tasks.observability.health import STARTING, Pulse
from worker import metrics
from worker.errors import LedgerUnavailable
from worker.ledger.connection import RedisConnection
from worker.ledger.queue_stats import QueueStatsReader
from worker.settings import Settings

LOOK_S: Final = 5.0
"""Seconds between two looks into Redis."""
LOOP: Final = "event loop"
TIMER: Final = "worker timer"


class Monitor:
    """`run` goes on until it is cancelled. Without a port and a health file in the settings it does nothing."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError when the port cannot be listened on."""
        self.pulse = Pulse(settings.health_file, LOOP)
        self._settings = settings
        self._away: str | None = STARTING
        self._stopping: str | None = None
        self._server = None
        if settings.metrics_port:
            self._server = metrics.MetricsServer(settings.metrics_host, settings.metrics_port)

    async def run(self) -> None:
        if self._server is None and not self._settings.health_file:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.pulse.keep(LOOP, lambda: self._stopping or self._away))
            group.create_task(self._look())

    def stop(self, why: str) -> None:
        """From now on it is not ready, because of `why`. May be called in a signal handler."""
        self._stopping = why

    def close(self) -> None:
        """At the end of the process."""
        self.pulse.remove()
        if self._server is not None:
            self._server.close()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        connection = RedisConnection(self._settings.redis_url, retries=0)
        reader = QueueStatsReader(self._settings, connection)
        try:
            while True:
                self._away = await self._queue(reader)
                metrics.count_sent_audio()
                due = loop.time() + LOOK_S
                await asyncio.sleep(LOOK_S)
                metrics.EVENT_LOOP_LAG.set(max(0.0, loop.time() - due))
        finally:
            await connection.close()

    async def _queue(self, reader: QueueStatsReader) -> str | None:
        """What Redis has; why it cannot be reached."""
        try:
            found = await reader.read()
        except LedgerUnavailable as exc:
            metrics.REDIS_UP.set(0)
            for gauge in (metrics.QUEUE_DEPTH, metrics.QUEUE_OLDEST):
                gauge.set(math.nan)
            for state in ("queued", "delayed", "running"):
                metrics.JOBS.labels(state).set(math.nan)
            for state in ("waiting", "dead_letter"):
                metrics.WEBHOOKS_STORED.labels(state).set(math.nan)
            return str(exc)
        metrics.REDIS_UP.set(1)
        metrics.JOBS.labels("queued").set(found.queued)
        metrics.JOBS.labels("delayed").set(found.delayed)
        metrics.JOBS.labels("running").set(found.running)
        metrics.QUEUE_DEPTH.set(found.messages)
        metrics.QUEUE_OLDEST.set(found.oldest_s)
        metrics.WEBHOOKS_STORED.labels("waiting").set(found.webhooks)
        metrics.WEBHOOKS_STORED.labels("dead_letter").set(found.webhooks_dead)
        metrics.DEAD_LETTERS.set(found.dead_letters)
        return None


__all__ = ["LOOP", "TIMER", "Monitor"]
