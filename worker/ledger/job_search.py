"""Searches the listing of jobs for the HTTP API, the newest first. See `worker.ledger.job_listing`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from math import inf

from worker.ledger.connection import RedisConnection
from worker.ledger.job_listing import JobFilter as ListingFilter
from worker.ledger.job_listing import JobListing
from worker.ledger.keys import Keys
from worker.ledger.records import JobState
from worker.settings import Settings


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
    """A place in the listing: a job and its score. The search continues after it."""

    score: str = ""
    job_id: str = ""


async def search_jobs(
    connection: RedisConnection, settings: Settings, wanted: JobFilter, cursor: Cursor, limit: int
) -> tuple[list[str], Cursor | None]:
    """Return the ids of at most `limit` jobs after the cursor, and the cursor for the next ones; None at the end.

    Raises LedgerUnavailable, and BadJob for a cursor that is not one of this search."""
    listing = JobListing(connection, Keys(settings.redis_prefix), settings.result_ttl)
    page = await listing.page(
        ListingFilter(
            states=tuple(sorted(wanted.states)),
            batch=wanted.batch,
            name=wanted.source,
            producer=wanted.producer or None,
            created_from=wanted.after_s,
            created_to=inf if wanted.before_s is None else wanted.before_s,
        ),
        cursor=f"{cursor.score}-{cursor.job_id}" if cursor.job_id else None,
        limit=limit,
    )
    if page.cursor is None:
        return list(page.ids), None
    score, _, job_id = page.cursor.partition("-")
    return list(page.ids), Cursor(score, job_id)


__all__ = ["Cursor", "JobFilter", "search_jobs"]
