"""Groups failed and incomplete jobs of all batches by reason, and queues a whole group again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from tasks.api.context import ApiContext
from tasks.api.job_documents import status_of
from tasks.batches.summary import common_reason, reason_of
from tasks.job_spec import JobStatus, source_of
from worker.ledger.job_listing import JobFilter
from worker.ledger.ledger import JobRecord, JobState

MAX_READ: Final = 2_000
"""Maximum number of jobs that are grouped for the page, the newest first."""
MAX_AGE_S: Final = 2.0
MAX_EXAMPLES: Final = 20
PAGE: Final = 500
_FAILED: Final = JobFilter(states=(JobState.FAILED, JobState.INCOMPLETE))

Group = tuple[str, str]


class FailureReader:
    """Belongs to the event loop of the context. Methods raise LedgerUnavailable."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._read_at = -MAX_AGE_S
        self._groups: dict[str, Any] = {}

    async def groups(self) -> dict[str, Any]:
        """Return the groups, the largest first, with some jobs of each as examples. `code` and `reason` identify a
        group, `shown` is the reason for people. Clients that ask within MAX_AGE_S get the same answer."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at > MAX_AGE_S:
                self._groups, self._read_at = await self._fresh(), now
            return self._groups

    async def _fresh(self) -> dict[str, Any]:
        counts = await self._context.listing.counts()
        found: dict[Group, list[JobStatus]] = {}
        errors: dict[Group, set[tuple[str, str]]] = {}
        read = 0
        async for records in self._pages():
            for record in records:
                found.setdefault(_group(record), []).append(status_of(record, self._context.settings))
                errors.setdefault(_group(record), set()).add(_error(record))
            read += len(records)
            if read >= MAX_READ:
                break
        groups = [
            {
                "code": code,
                "reason": reason,
                "shown": common_reason(errors[code, reason]),
                "count": len(jobs),
                "examples": [{"id": one.id, "name": one.source.rpartition("/")[2]} for one in jobs[:MAX_EXAMPLES]],
            }
            for (code, reason), jobs in sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
        ]
        return {"total": counts[JobState.FAILED] + counts[JobState.INCOMPLETE], "read": read, "groups": groups}

    async def retry(self, code: str, reason: str) -> int:
        """Queue all jobs of a group again. Returns their number."""
        retried = 0
        # The pages are read before the jobs are retried: a retried job leaves the list that is read.
        wanted = [record async for records in self._pages() for record in records if _group(record) == (code, reason)]
        for first in range(0, len(wanted), PAGE):
            retried += len(await self._context.control.retry_jobs(wanted[first : first + PAGE]))
            await asyncio.sleep(0)
        self._read_at = -MAX_AGE_S
        return retried

    async def _pages(self) -> AsyncIterator[Sequence[JobRecord]]:
        cursor = None
        while True:
            page = await self._context.listing.page(_FAILED, cursor=cursor, limit=PAGE)
            records = await self._context.ledger.get_many(page.ids)
            yield [record for record in records if record is not None and record.state in _FAILED.states]
            cursor = page.cursor
            if cursor is None:
                return


def _group(record: JobRecord) -> Group:
    return record.error_code or "error", reason_of(*_error(record))


def _error(record: JobRecord) -> tuple[str, str]:
    return record.error or record.state.value, source_of(record)


__all__ = ["FailureReader"]
