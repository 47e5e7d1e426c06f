"""Searches the index of jobs, the newest first."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.ledger.records import JobState
from worker.settings import Settings

LOOKED_AT: Final = 2_000
"""Number of jobs that one call of the script looks at. Redis serves no other client meanwhile."""
_NEWEST_MS: Final = 10**15


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to find. An empty value matches all."""

    states: Collection[JobState] = ()
    batch: str = ""
    producer: str = ""
    source: str = ""
    """A part of the name of the source, without folders. Upper and lower case of ASCII letters are equal."""
    after_s: float = 0.0
    """Seconds since 1970 of the oldest job."""
    before_s: float | None = None


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in the index: a job and its score. The search continues after it."""

    score: str = ""
    job_id: str = ""


async def search_jobs(
    connection: RedisConnection, settings: Settings, wanted: JobFilter, cursor: Cursor, limit: int
) -> tuple[list[str], Cursor | None]:
    """Return the ids of at most `limit` jobs after the cursor, and the cursor for the next ones; None at the end.

    Raises LedgerUnavailable."""
    keys, found = Keys(settings.redis_prefix), list[str]()
    newest = _NEWEST_MS if wanted.before_s is None else int(wanted.before_s * 1000)
    states = f",{','.join(sorted(wanted.states))}," if wanted.states else ""
    # As in the JSON of the job. `lower` of bytes changes ASCII letters only, as Lua does.
    needle = json.dumps(wanted.source, ensure_ascii=False)[1:-1].encode("utf-8", "replace").lower().decode()
    while True:
        score, job_id, ids = await connection.script(
            "list_jobs",
            [keys["jobs"]],
            [
                *(keys.job(""), cursor.score, cursor.job_id, int(wanted.after_s * 1000), newest),
                *(LOOKED_AT, limit - len(found), states, wanted.batch, wanted.producer, needle),
            ],
        )
        found += ids
        if not job_id:
            return found, None
        cursor = Cursor(score, job_id)
        if len(found) >= limit:
            return found, cursor


__all__ = ["Cursor", "JobFilter", "search_jobs"]
