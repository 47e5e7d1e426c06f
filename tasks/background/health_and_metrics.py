"""Writes the health file and serves the metrics of a process that uses the queue."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import Final

from tasks.observability.heartbeat import STARTING, Heartbeat
from worker import metrics
from worker.errors import LedgerUnavailable
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import KeyBreaker
from worker.ledger.queue_audio import QueueAudioReader
from worker.ledger.queue_stats import QueueStatsReader
from worker.ledger.records import WaitsFor
from worker.ledger.waiting import QueueViewReader
from worker.ledger.worker_registry import version_counts
from worker.settings import Settings

_LOG: Final = logging.getLogger(__name__)
CHECK_S: Final = 5.0
"""Seconds between two checks of Redis."""
LOOP: Final = "event loop"
TIMER: Final = "worker timer"


class Monitor:
    """Maintains the health file and the metrics of this process. Does nothing if the settings name neither a health
    file nor a port for metrics."""

    def __init__(self, settings: Settings) -> None:
        """Start the metrics server. Raises SettingsError if its port cannot be opened."""
        self.heartbeat = Heartbeat(settings.health_file, LOOP)
        self._settings = settings
        # The process is not ready until the first check has reached Redis.
        self._redis_problem: str | None = STARTING
        self._stopping: str | None = None
        self._server = None
        if settings.metrics_port:
            self._server = metrics.MetricsServer(settings.metrics_host, settings.metrics_port)

    async def run(self) -> None:
        if self._server is None and not self._settings.health_file:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.heartbeat.run(LOOP, lambda: self._stopping or self._redis_problem))
            group.create_task(self._watch_redis())

    def stop(self, why: str) -> None:
        """Mark the process as not ready, with the reason `why`. May be called in a signal handler."""
        self._stopping = why

    def write_stopping(self) -> None:
        """Write the reason of `stop` to the health file at once. The next regular write may come after the end."""
        self.heartbeat.ready(self._stopping or self._redis_problem)
        try:
            self.heartbeat.write()
        except OSError as exc:  # the health check reports the outdated file
            _LOG.warning("health file not written: %s", exc)

    def close(self) -> None:
        """Delete the health file and stop the metrics server."""
        self.heartbeat.remove()
        if self._server is not None:
            self._server.close()

    async def _watch_redis(self) -> None:
        loop = asyncio.get_running_loop()
        connection = RedisConnection(self._settings.redis_url, retries=0)
        reader, views = QueueStatsReader(self._settings, connection), QueueViewReader(self._settings, connection)
        breaker = KeyBreaker(self._settings, connection)
        audio = QueueAudioReader(self._settings, connection)
        try:
            while True:
                self._redis_problem = (
                    await self._queue(reader, breaker, views)
                    or await _measure_audio(audio)
                    or await _replica_problem(connection)
                )
                metrics.count_sent_audio()
                due = loop.time() + CHECK_S
                await asyncio.sleep(CHECK_S)
                metrics.EVENT_LOOP_LAG.set(max(0.0, loop.time() - due))
        finally:
            await connection.close()

    async def _queue(self, reader: QueueStatsReader, breaker: KeyBreaker, views: QueueViewReader) -> str | None:
        """Update the metrics of the queue. If Redis is unreachable, returns the reason, otherwise None."""
        try:
            found, key, view = await reader.read(), await breaker.check(), await views.read()
            waiting = await views.count_waiting(view)
        except LedgerUnavailable as exc:
            metrics.REDIS_UP.set(0)
            for gauge in (metrics.QUEUE_DEPTH, metrics.QUEUE_OLDEST, metrics.API_KEY_PAUSED, metrics.WORKERS_ALIVE):
                gauge.set(math.nan)
            for state in ("queued", "delayed", "running"):
                metrics.JOBS.labels(state).set(math.nan)
            for state in ("waiting", "running"):
                metrics.QUEUE_AUDIO.labels(state).set(math.nan)
            for reason in WaitsFor:
                metrics.JOBS_WAITING.labels(reason.value).set(math.nan)
            for state in ("waiting", "dead_letter"):
                metrics.WEBHOOKS_STORED.labels(state).set(math.nan)
            return str(exc)
        metrics.REDIS_UP.set(1)
        metrics.WORKERS_ALIVE.set(len(view.workers))
        metrics.WORKERS_BY_VERSION.clear()  # versions that run no more
        for version, count in version_counts(view.workers).items():
            metrics.WORKERS_BY_VERSION.labels(version).set(count)
        for reason, number in waiting.items():
            metrics.JOBS_WAITING.labels(reason.value).set(number)
        metrics.API_KEY_PAUSED.set(key.paused)
        metrics.JOBS.labels("queued").set(found.queued)
        metrics.JOBS.labels("delayed").set(found.delayed)
        metrics.JOBS.labels("running").set(found.running)
        metrics.QUEUE_DEPTH.set(found.messages)
        metrics.QUEUE_OLDEST.set(found.oldest_s)
        metrics.WEBHOOKS_STORED.labels("waiting").set(found.webhooks)
        metrics.WEBHOOKS_STORED.labels("dead_letter").set(found.webhooks_dead)
        metrics.DEAD_LETTERS.set(found.dead_letters)
        return None


async def _measure_audio(reader: QueueAudioReader) -> str | None:
    """Update the metric of waiting audio. If Redis is unreachable, returns the reason, otherwise None."""
    try:
        found = await reader.read()
    except LedgerUnavailable as exc:  # the next reading of the queue sets all of its metrics to "unknown"
        return str(exc)
    metrics.QUEUE_AUDIO.labels("waiting").set(found.waiting_s)
    metrics.QUEUE_AUDIO.labels("running").set(found.running_s)
    return None


async def _replica_problem(connection: RedisConnection) -> str | None:
    """Return why the process cannot write to Redis, or None. Its readings also work on a read-only replica."""
    try:
        await connection.check_primary()
    except LedgerUnavailable as exc:
        return str(exc)
    return None


__all__ = ["LOOP", "TIMER", "Monitor"]
