"""What happens to jobs, for others to follow: the stream `events` below the prefix of the settings.

    XREAD BLOCK 0 STREAMS stt:events $

An entry has `event`, one of `Event`, `job`, and where they are known `batch` and the facts of that event. The stream
keeps about the last KEPT entries and ends `result_ttl` after the last one. It is a convenience: who must not miss
anything reads the ledger.
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
from worker.ledger.connection import Scripts
from worker.settings import Settings

_LOG: Final = logging.getLogger(__name__)
Event = Literal["queued", "started", "progress", "committed", "done", "incomplete", "failed", "cancelled"]
KEPT: Final = 20_000
"""Entries, about 200 bytes each."""
AT_ONCE: Final = 500
"""Entries in one round trip."""
MOST_WAITING: Final = 10_000
"""Entries that wait for a Redis that is slow or away; further ones are not told."""
MOST_TEXT: Final = 500
"""Characters kept of one value."""


Facts = Mapping[str, str | float | None]


@dataclass(slots=True)
class _Entry:
    fields: list[str]
    written: asyncio.Future[None] | None = None
    """Done when it was written, or could not be."""


class Events:
    """Writes to the stream, in the order they were told. A Redis that does not answer costs the event, never the job.
    Belongs to one event loop."""

    def __init__(self, settings: Settings, scripts: Scripts) -> None:
        self.key = f"{settings.redis_prefix}events"
        self._ttl_ms = max(int(settings.result_ttl.total_seconds() * 1000), 60_000)
        self._scripts = scripts
        self._waiting: deque[_Entry] = deque()
        self._writing: asyncio.Task[None] | None = None

    def soon(self, event: Event, job_id: str, **facts: str | float | None) -> None:
        """One event, without waiting until it is written: what many jobs tell at once goes in one round trip."""
        if len(self._waiting) >= MOST_WAITING:
            _LOG.warning("event not told, too many wait: %s of job %s", event, job_id)
        else:
            self._put([_Entry(_fields(event, job_id, facts))])

    async def tell(self, event: Event, job_id: str, **facts: str | float | None) -> None:
        """One event, and all before it, written when this returns. Facts that are None are left out."""
        await self.tell_many([(event, job_id, facts)])

    async def tell_many(self, events: Iterable[tuple[Event, str, Facts]]) -> None:
        """Several, as `tell`."""
        entries = [_Entry(_fields(*event)) for event in events]
        if entries:
            entries[-1].written = asyncio.get_running_loop().create_future()
            self._put(entries)
            await entries[-1].written

    async def close(self) -> None:
        """In the end: what was told is written, for at most a second."""
        if self._writing is not None and not self._writing.done():
            await asyncio.wait((self._writing,), timeout=1.0)

    def _put(self, entries: Iterable[_Entry]) -> None:
        self._waiting.extend(entries)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def _write(self) -> None:
        while self._waiting:
            entries = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            fields = [entry.fields for entry in entries]
            try:
                await self._scripts.script("events", [self.key], [KEPT, self._ttl_ms, json.dumps(fields)])
            except LedgerUnavailable as exc:
                _LOG.warning("%d events not told, such as %s of job %s: %s", len(fields), *fields[0][1:4:2], exc)
            finally:
                for entry in entries:
                    if entry.written is not None and not entry.written.done():
                        entry.written.set_result(None)


def _fields(event: Event, job_id: str, facts: Facts) -> list[str]:
    fields = ["event", event, "job", job_id]
    for name, value in facts.items():
        if value is not None:
            fields += (name, str(value)[:MOST_TEXT])
    return fields


__all__ = ["Event", "Events"]
