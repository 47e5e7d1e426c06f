"""The listing: finds jobs by state, batch, time and name of the source, in pages, without reading all records.

| key             | type | contains                                                                                  |
|-----------------|------|-------------------------------------------------------------------------------------------|
| `listing`       | zset | all jobs, scored by their creation time in ms                                             |
| `listing:STATE` | zset | the jobs in a state, scored in the same way                                               |

A member consists of four lines: id, batch, producer, and name of the source in lower case. The scripts that change a
job's state change its entries in the same atomic step. Versions before 2 of the schema do not; `JobListing.correct`
repairs their entries, and a page contains no job whose record contradicts the filter.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from heapq import merge
from math import inf, isfinite
from typing import Final

from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys
from worker.ledger.records import JobState

SCAN_ENTRIES: Final = 10_000
"""Maximum number of entries that one call of a script reads: about 10 ms of Redis' time."""
CORRECT_JOBS: Final = 200
"""Number of jobs that one call of a script corrects."""
PRUNED_ENTRIES: Final = 500
"""Maximum number of entries of each state that one call of `prune` looks at."""
MAX_PAGE: Final = 500
_CURSOR: Final = re.compile(r"(\d{1,16})-([A-Za-z0-9._-]{1,128})")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_STATES: Final = tuple(JobState)

Position = tuple[int, str]


@dataclass(frozen=True, slots=True)
class JobFilter:
    """The jobs to list. Without values: all jobs."""

    states: tuple[JobState, ...] = ()
    batch: str = ""
    name: str = ""
    """Part of the name of the source; small and capital letters of ASCII are equal."""
    producer: str | None = None
    """None for the jobs of all producers."""
    created_from: float = 0.0
    """Seconds since 1970, as in `created_to`."""
    created_to: float = inf


@dataclass(frozen=True, slots=True)
class ListedPage:
    """Ids of jobs, newest first. `cursor`: continues after this page; None after the last page."""

    ids: tuple[str, ...]
    cursor: str | None


@dataclass(slots=True)
class _Source:
    """Reads one sorted set in the order of the listing."""

    key: str
    position: Position | None
    found: list[Position] = field(default_factory=list)
    more: bool = True


class JobListing:
    """Reads the listing. Belongs to one event loop. Methods raise LedgerUnavailable."""

    def __init__(self, connection: RedisConnection, keys: Keys, result_ttl: timedelta) -> None:
        self._connection, self._keys = connection, keys
        self._ttl_ms = int(max(UNFINISHED_TTL, result_ttl).total_seconds() * 1000)

    async def page(self, wanted: JobFilter, *, cursor: str | None = None, limit: int = 50) -> ListedPage:
        """Return at most `limit` jobs, newest first. Raises BadJob for a cursor of another program."""
        limit = max(1, min(limit, MAX_PAGE))
        start = None if cursor is None else _position(cursor)
        keys = [self._keys[f"listing:{state}"] for state in dict.fromkeys(wanted.states)] or [self._keys["listing"]]
        sources = [_Source(key, start) for key in keys]
        for source in sources:
            await self._fill(source, wanted, limit)
        newest = list(merge(*(source.found for source in sources), key=_descending))
        ids = tuple(dict.fromkeys(job_id for _, job_id in newest[:limit]))
        more = len(newest) > limit or any(source.more for source in sources)
        return ListedPage(ids, "{}-{}".format(*newest[limit - 1]) if more and len(newest) >= limit else None)

    async def _fill(self, source: _Source, wanted: JobFilter, limit: int) -> None:
        """Search until `limit` jobs are found or no entries remain."""
        highest = str(int(wanted.created_to * 1000)) if isfinite(wanted.created_to) else "+inf"
        while source.more and len(source.found) < limit:
            at = source.position
            if at is not None and isfinite(wanted.created_to) and at[0] > int(wanted.created_to * 1000):
                at = None
            args: list[str | int] = [str(at[0]), at[1]] if at else [highest, ""]
            args += [str(int(wanted.created_from * 1000)), SCAN_ENTRIES, limit - len(source.found)]
            args += [_CONTROL.sub(" ", wanted.batch), int(wanted.producer is not None)]
            args += [_CONTROL.sub(" ", wanted.producer or ""), _lower(wanted.name)]
            found, score, last, more = await self._connection.script("search_listing", [source.key], args)
            source.found += [(int(float(at_ms)), job_id) for job_id, at_ms in zip(found[::2], found[1::2], strict=True)]
            source.more = bool(more)
            if score:
                source.position = int(float(score)), last

    async def counts(self) -> dict[JobState, int]:
        """Return the number of jobs in each state, for all producers."""
        numbers = await self._connection.pipeline(
            lambda pipeline: [pipeline.zcard(self._keys[f"listing:{state}"]) for state in _STATES]
        )
        return dict(zip(_STATES, numbers, strict=True))

    async def prune(self) -> int:
        """Remove entries of expired jobs, at most PRUNED_ENTRIES of each state. Returns how many were removed."""
        args = (self._keys.job(""), " ".join(_STATES), PRUNED_ENTRIES)
        return int(await self._connection.script("unlist", self._keys.pending, args))

    async def correct(self, job_ids: Sequence[str]) -> int:
        """Correct the entries of some jobs. Returns the number of wrong or missing entries."""
        corrected = 0
        for first in range(0, len(job_ids), CORRECT_JOBS):
            args: list[str | int] = [self._keys.job(""), self._ttl_ms, *job_ids[first : first + CORRECT_JOBS]]
            corrected += await self._connection.script("relist", self._keys.pending, args)
            await asyncio.sleep(0)
        return corrected

    async def correct_all(self) -> int:
        """Correct the entries of all jobs of the index `jobs`, such as those of an earlier version."""
        ids = await self._connection.call(lambda redis: redis.zrevrange(self._keys["jobs"], 0, -1))
        return await self.correct(ids)


def _descending(position: Position) -> tuple[int, bytes]:
    return -position[0], bytes(255 - byte for byte in position[1].encode()) + b"\xff"


def _position(cursor: str) -> Position:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadJob(f"cursor {cursor[:40]!r}: not a cursor of an earlier page; omit it to begin with the newest job")
    return int(found[1]), found[2]


def _lower(name: str) -> str:
    """Return the name with small letters, for ASCII only, as `lower` of Lua does."""
    return "".join(char.lower() if char.isascii() else char for char in _CONTROL.sub(" ", name))


__all__ = ["JobFilter", "JobListing", "ListedPage"]
