"""Deletes jobs with everything that they left in Redis.

One Lua script deletes the record, commits, transcript and list entries of a job. Then the entries that name the job are
removed from the streams of events, answers and dead letters, from the outbox of webhooks, and from the caches.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.ledger.ledger import JOBS_PER_CALL
from worker.settings import Settings

WITH_TEXT: Final = ("events", "dead-letters")
"""Streams whose entries may contain transcribed text."""
STREAMS: Final = (*WITH_TEXT, "intake:replies", "intake:refused")
STOP_S: Final = 3.0
"""Seconds in which a worker has stopped a deleted job, and has written the last events of the job."""
ENTRIES_PER_CALL: Final = 1000
MAX_BATCHES: Final = 10_000
"""Maximum number of the newest batches from which the ids of deleted jobs are removed."""


@dataclass(frozen=True, slots=True)
class DeletedJob:
    """A deleted job. `state`: its state before; `spec`: the submitted job as JSON; `outputs`: its written files."""

    id: str
    state: str
    spec: str
    outputs: tuple[str, ...]


class JobDeletion:
    """Deletes jobs. Belongs to one event loop. Raises LedgerUnavailable; a repeated call completes the deletion."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)

    async def delete(self, job_ids: Sequence[str]) -> list[DeletedJob]:
        """Delete jobs. Returns those that existed. If some were running, waits until their workers have stopped."""
        deleted: list[DeletedJob] = []
        for first in range(0, len(job_ids), JOBS_PER_CALL):
            some = job_ids[first : first + JOBS_PER_CALL]
            calls = [(self._keys.script_keys(job_id), (job_id,)) for job_id in some]
            answers = await self._connection.script_many("delete_job", calls)
            deleted += [_deleted(job_id, answer) for job_id, answer in zip(some, answers, strict=True) if answer[0]]
        if any(job.state == "running" for job in deleted):
            await asyncio.sleep(STOP_S)
        # Also for jobs without a record: an earlier call may have been interrupted.
        ids = frozenset(job_ids)
        await self._delete_from_streams(ids)
        await self._delete_webhooks(ids)
        await self._delete_from_indexes(ids)
        await self._delete_hashes(deleted)
        return deleted

    async def _delete_from_streams(self, ids: frozenset[str]) -> None:
        producers = await self._connection.call(lambda redis: redis.zrange(self._keys["intake:streams"], 0, -1))
        names = [*STREAMS, *(f"intake:replies:{name}" for name in producers)]
        for name in names:
            key = self._keys[name]
            named = [entry async for entries in self._entries(key) for entry, fields in entries if _names(fields, ids)]
            if named and name in WITH_TEXT:
                await self._connection.script("purge_stream", (key,), named)
            elif named:
                await self._connection.call(lambda redis, key=key, named=named: redis.xdel(key, *named))  # type: ignore[misc]

    async def _entries(self, key: str) -> AsyncIterator[list[tuple[str, dict[str, str]]]]:
        if await self._connection.call(lambda redis: redis.type(key)) != "stream":
            return
        after = "-"
        while True:
            page = await self._connection.call(
                lambda redis, after=after: redis.xrange(key, min=after, count=ENTRIES_PER_CALL)  # type: ignore[misc]
            )
            if page:
                yield page
            if len(page) < ENTRIES_PER_CALL:
                return
            after = f"({page[-1][0]}"

    async def _delete_webhooks(self, ids: frozenset[str]) -> None:
        for name in ("webhooks", "webhooks:dead"):
            messages = await self._connection.call(lambda redis, name=name: redis.zrange(self._keys[name], 0, -1))  # type: ignore[misc]
            for first in range(0, len(messages), JOBS_PER_CALL):
                some = messages[first : first + JOBS_PER_CALL]
                jobs = await self._connection.pipeline(
                    lambda p, some=some: [p.hget(self._keys[f"webhook:{one}"], "job") for one in some],  # type: ignore[misc]
                    each=True,
                )
                found = [one for one, job in zip(some, jobs, strict=True) if job in ids]
                if found:
                    await self._connection.pipeline(
                        lambda p, found=found, name=name: (  # type: ignore[misc]
                            p.zrem(self._keys[name], *found),
                            p.delete(*(self._keys[f"webhook:{one}"] for one in found)),
                        )
                    )

    async def _delete_from_indexes(self, ids: frozenset[str]) -> None:
        # A job that was submitted again with another batch is a member of that batch as well.
        batches = await self._connection.call(lambda redis: redis.zrevrange(self._keys["batches"], 0, MAX_BATCHES - 1))
        if batches:
            await self._connection.pipeline(
                lambda p: [p.srem(self._keys.batch(one), *ids) for one in batches], each=True
            )
        claimed = await self._connection.call(lambda redis: redis.hgetall(self._keys["outputs"]))
        names = [name for name, job_id in claimed.items() if job_id in ids]
        if names:
            await self._connection.call(lambda redis: redis.hdel(self._keys["outputs"], *names))
        # The API deletes an upload when the next check of its entry finds no job, so that check is due now.
        uploads = await self._connection.call(lambda redis: redis.zrange(self._keys["http:uploads"], 0, -1))
        due = {member: 0 for member in uploads if member.partition(" ")[0] in ids}
        if due:
            await self._connection.call(lambda redis: redis.zadd(self._keys["http:uploads"], due, xx=True))

    async def _delete_hashes(self, deleted: Sequence[DeletedJob]) -> None:
        """Delete the cached hashes of the sources."""
        sources = [source for job in deleted if isinstance(source := _fields(job.spec).get("source"), str)]
        keys = [self._keys[f"content:{_digest(source)}"] for source in sources]
        if keys:
            await self._connection.call(lambda redis: redis.delete(*keys))


def _deleted(job_id: str, answer: Sequence[str]) -> DeletedJob:
    state, spec, outputs = answer
    try:
        files = json.loads(outputs or "[]")
    except ValueError:
        files = []
    return DeletedJob(job_id, state, spec, tuple(one for one in files if isinstance(one, str)))


def _fields(spec: str) -> Mapping[str, Any]:
    try:
        found = json.loads(spec)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _names(fields: Mapping[str, str], ids: frozenset[str]) -> bool:
    """Whether an entry of a stream names one of the jobs, as its job or within a refused message."""
    return fields.get("job") in ids or any(job_id in fields.get("message", "") for job_id in ids)


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


__all__ = ["DeletedJob", "JobDeletion"]
