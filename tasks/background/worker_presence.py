"""Announces this worker in Redis, with its version, sessions and throughput, for the console and `GET /v1/workers`."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker import metrics
from worker.errors import LedgerUnavailable
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import KeyBreaker
from worker.ledger.keys import Keys
from worker.ledger.worker_registry import HEARTBEAT_S, WorkerFacts, WorkerRegistry
from worker.settings import Settings
from worker.version import installed_version

_LOG: Final = logging.getLogger(__name__)
LEAVE_S: Final = 0.5
"""Maximum seconds to remove the entry when the worker stops."""


def totals() -> dict[str, float]:
    """Return the sums of this process since its start, with the names of `worker_registry.SUMS`, without `took_s`."""
    metrics.count_sent_audio()
    ended = {state: metrics.read(metrics.JOBS_ENDED.labels(state)) for state in ("done", "incomplete", "failed")}
    return {
        "audio_s": metrics.read(metrics.AUDIO_COMMITTED),
        "sent_s": metrics.read(metrics.AUDIO_SENT),
        "done": ended["done"],
        "failed": ended["incomplete"] + ended["failed"],
    }


async def announce(settings: Settings, waiting: Callable[[], list[str]] = list) -> None:
    """Write a heartbeat every HEARTBEAT_S seconds until cancelled; then remove the entry. `waiting`: returns the ids of
    the jobs of this worker that wait for a session."""
    connection = RedisConnection(settings.redis_url, retries=0)
    registry = WorkerRegistry(connection, Keys(settings.redis_prefix))
    host, started_at, key = socket.gethostname(), time.time(), KeyBreaker(settings, connection).name
    worker_id = f"{host}:{os.getpid()}"
    before, beat_at = totals(), time.monotonic()
    try:
        while True:
            after, now = totals(), time.monotonic()
            sessions = int(metrics.read(metrics.SESSIONS_OPEN))
            facts = WorkerFacts(
                id=worker_id,
                host=host,
                pid=os.getpid(),
                version=installed_version() or "0",
                started_at=round(started_at, 3),
                sessions=sessions,
                max_sessions=settings.worker_sessions,
                jobs=int(metrics.read(metrics.JOBS_RUNNING)),
                key=key,
                waiting=tuple(waiting()),
                signs_webhooks=bool(settings.webhook_secret.get_secret_value()),
                allowed_webhooks=settings.allowed_webhooks,
            )
            sums = {name: max(0.0, value - before[name]) for name, value in after.items()}
            try:
                await registry.beat(facts, {**sums, "took_s": sessions * (now - beat_at)})
                before, beat_at = after, now
            except LedgerUnavailable as exc:  # the sums are added to the next heartbeat
                _LOG.debug("heartbeat not written: %s", exc)
            await asyncio.sleep(HEARTBEAT_S)
    finally:
        with suppress(LedgerUnavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await registry.leave(worker_id)
        await connection.close()


__all__ = ["announce", "totals"]
