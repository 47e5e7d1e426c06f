"""Reads the figures of the overview, at most once a second for all clients of a process."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any, Final

from tasks.api.context import ApiContext
from worker.ledger.key_breaker import paused_keys
from worker.ledger.keys import Keys
from worker.ledger.worker_registry import WorkerRegistry

MAX_AGE_S: Final = 1.0
MINUTES: Final = 60


class Overview:
    """Belongs to the event loop of the context."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._registry = WorkerRegistry(context.connection, Keys(context.settings.redis_prefix))
        self._read_at = -MAX_AGE_S
        self._lock = asyncio.Lock()
        self._data: dict[str, Any] = {}

    async def read(self) -> dict[str, Any]:
        """Return the figures. Raises LedgerUnavailable."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at > MAX_AGE_S:
                self._data, self._read_at = await self._fresh(), now
            return self._data

    async def _fresh(self) -> dict[str, Any]:
        context = self._context
        queue, counts, seen, (_, activity), keys = await asyncio.gather(
            context.queue_stats.read(),
            context.listing.counts(),
            self._registry.workers(),
            self._registry.activity(MINUTES),
            paused_keys(context.settings, context.connection),
        )
        alive = [one.facts for one in seen if not one.lost]
        return {
            "queue": asdict(queue),
            "counts": {state.value: number for state, number in counts.items()},
            "sessions": sum(one.sessions for one in alive),
            "max_sessions": sum(one.max_sessions for one in alive),
            "workers": [{**asdict(one.facts), "age_s": round(one.age_s, 1), "lost": one.lost} for one in seen],
            "activity": activity,
            "paused_keys": [asdict(key) for key in keys],
        }


__all__ = ["Overview"]
