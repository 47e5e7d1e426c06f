"""Publishes the events of jobs in the Redis stream `events`, below the prefix of the settings.

    XREAD BLOCK 0 STREAMS stt:events $

An entry has the fields `event` (one of `Event`), `job`, `batch` if the job has one, and the facts of that event. The
stream contains about the last MAX_ENTRIES entries and expires `result_ttl` after the last one. Events may be lost:
programs that need every change read the ledger.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from worker.errors import LedgerUnavailable
from worker.ledger.connection import ScriptRunner
from worker.settings import Settings

_LOG: Final = logging.getLogger(__name__)
Event = Literal["queued", "started", "progress", "committed", "done", "incomplete", "failed", "cancelled"]
MAX_ENTRIES: Final = 20_000
"""About 200 bytes each."""
ENTRIES_PER_CALL: Final = 500
MAX_WAITING: Final = 10_000
"""Events in memory while Redis is slow or away; further ones are dropped."""
MAX_TEXT: Final = 500
"""Characters of one value; the rest is cut off."""


Facts = Mapping[str, str | float | None]


@dataclass(slots=True)
class _Entry:
    fields: list[str]
    written: asyncio.Future[None] | None = None
    """Done when the entry was written or dropped."""


class EventStream:
    """Writes events in the order of the calls. If Redis does not answer, events are dropped and logged.

    Belongs to one event loop."""

    def __init__(self, settings: Settings, scripts: ScriptRunner) -> None:
        self.key = f"{settings.redis_prefix}events"
        self._ttl_ms = max(int(settings.result_ttl.total_seconds() * 1000), 60_000)
        self._scripts = scripts
        self._waiting: deque[_Entry] = deque()
        self._writing: asyncio.Task[None] | None = None

    def publish_soon(self, event: Event, job_id: str, **facts: str | float | None) -> None:
        """Publish one event without waiting for Redis. Events of several jobs share one round trip."""
        if len(self._waiting) >= MAX_WAITING:
            _LOG.warning("event dropped, too many events wait for Redis: %s of job %s", event, job_id)
        else:
            self._put([_Entry(_fields(event, job_id, facts))])

    async def publish(self, event: Event, job_id: str, **facts: str | float | None) -> None:
        """Publish one event. It and all earlier ones are written when this returns. Facts that are None are omitted."""
        await self.publish_many([(event, job_id, facts)])

    async def publish_many(self, events: Iterable[tuple[Event, str, Facts]]) -> None:
        """Publish several events, as `publish`."""
        entries = [_Entry(_fields(*event)) for event in events]
        if entries:
            entries[-1].written = asyncio.get_running_loop().create_future()
            self._put(entries)
            await entries[-1].written

    async def close(self) -> None:
        """Write waiting events at the end of the process, for at most a second."""
        if self._writing is not None and not self._writing.done():
            await asyncio.wait((self._writing,), timeout=1.0)

    def _put(self, entries: Iterable[_Entry]) -> None:
        self._waiting.extend(entries)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._waiting:
            entries = [self._waiting.popleft() for _ in range(min(ENTRIES_PER_CALL, len(self._waiting)))]
            fields = [entry.fields for entry in entries]
            try:
                await self._scripts.script("append_events", [self.key], [MAX_ENTRIES, self._ttl_ms, json.dumps(fields)])
            except LedgerUnavailable as exc:
                _LOG.warning("%d events dropped, such as %s of job %s: %s", len(fields), *fields[0][1:4:2], exc)
            finally:
                for entry in entries:
                    if entry.written is not None and not entry.written.done():
                        entry.written.set_result(None)


def _fields(event: Event, job_id: str, facts: Facts) -> list[str]:
    fields = ["event", event, "job", job_id]
    for name, value in facts.items():
        if value is not None:
            fields += (name, str(value)[:MAX_TEXT])
    return fields


__all__ = ["Event", "EventStream"]
