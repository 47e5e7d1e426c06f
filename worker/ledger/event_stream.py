"""Publishes the events of jobs in the Redis stream `events`, below STT_REDIS_PREFIX.

A program can read them, for example, with

    XREAD BLOCK 0 STREAMS stt:events $

An entry has the fields `event` (one of `Event`), `job` (the job's id, or empty for an event of an API key), `batch` if
the job has one, and further fields that depend on the event. The stream contains about the last MAX_ENTRIES entries
and expires STT_RESULT_TTL after the last one was added. Events may be lost: programs that need every change read the
records of the jobs instead.
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
Event = Literal[
    "queued",
    "started",
    "progress",
    "committed",
    "done",
    "incomplete",
    "failed",
    "cancelled",
    "key_paused",
    "key_resumed",
]
MAX_ENTRIES: Final = 20_000
"""Approximate maximum of entries in the stream. An entry has about 200 bytes."""
ENTRIES_PER_CALL: Final = 500
MAX_WAITING: Final = 10_000
"""Maximum of events in memory while Redis is slow or unreachable; further events are dropped."""
MAX_TEXT: Final = 500
"""Maximum characters of the value of a field; the rest is cut off."""


Facts = Mapping[str, str | float | None]
"""Further fields of an event: name -> value. Fields that are None are omitted."""


@dataclass(slots=True)
class _Entry:
    fields: list[str]
    written: asyncio.Future[None] | None = None
    """A future that is done when the entry was written or dropped, or None if no caller waits for the entry."""


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
        """Publish one event without waiting for Redis. Waiting events of all jobs are sent in one round trip."""
        if len(self._waiting) >= MAX_WAITING:
            _LOG.warning("event dropped, too many events wait for Redis: %s of job %s", event, job_id)
        else:
            self._put([_Entry(_fields(event, job_id, facts))])

    async def publish(self, event: Event, job_id: str, **facts: str | float | None) -> None:
        """Publish one event. Returns when this event and all earlier events are written or dropped."""
        await self.publish_many([(event, job_id, facts)])

    async def publish_many(self, events: Iterable[tuple[Event, str, Facts]]) -> None:
        """Publish several events (name, job id, further fields). Returns when all of them are written or dropped."""
        entries = [_Entry(_fields(*event)) for event in events]
        if entries:
            entries[-1].written = asyncio.get_running_loop().create_future()
            self._put(entries)
            await entries[-1].written

    async def close(self) -> None:
        """Wait at most one second until the remaining events are written. Call this at the end of the process."""
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
