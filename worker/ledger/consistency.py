"""Checks the invariants of the ledger in Redis, and repairs differences. For `stt-batch ledger check`.

| key            | invariant                                                                                           |
|----------------|-----------------------------------------------------------------------------------------------------|
| each key       | has the type of its name, and expires                                                               |
| `job:ID`       | queued: in exactly one of `queue`, `delayed` or `paused`, without an owner                          |
|                | running: in `leases` only, with the end of its lease, and an owner                                  |
|                | ended: in none of these lists; has the time of its end, and a transcript or files if it succeeded   |
|                | `commits` is the number of entries in the stream `job:ID:commits`                                   |
| lists of ids   | name jobs that have a record                                                                        |
| `queue:turns`  | counts the waiting jobs of each batch                                                               |
| `webhooks`     | each message is in the outbox or among the dead letters, and each entry of those has its message    |

Lua scripts compare and repair each job in one atomic step, so the check may run beside workers.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys
from worker.ledger.records import JobState
from worker.settings import Settings

KEYS_PER_CALL: Final = 500
"""Keys in one round trip. A call blocks Redis for a few milliseconds."""
SHARED_TYPES: Final = {
    **dict.fromkeys(("leases", "queue", "delayed", "paused", "jobs", "batches"), "zset"),
    **dict.fromkeys(("webhooks", "webhooks:dead", "webhooks:batches", "breakers"), "zset"),
    **dict.fromkeys(("listing", "workers", *(f"listing:{state}" for state in JobState)), "zset"),
    **dict.fromkeys(("queue:turns", "outputs", "schema"), "hash"),
    **dict.fromkeys(("events", "dead-letters", "intake"), "stream"),
}
"""Type of each key that all jobs share, by its name below the prefix."""
_LISTS: Final = ("leases", "queue", "delayed", "paused")
_JOB_KEY: Final = re.compile(r"job:([A-Za-z0-9._-]+)(:commits|:transcript)?")
_GLOB: Final = re.compile(r"([*?\[\]\\])")
TEXTS: Final = {
    "wrong_type": "a key has another type than its name requires: another program wrote to it",
    "no_record": "a list names this job, but there is no record of it",
    "orphan": "there are commits or a transcript, but no record of the job",
    "unknown_state": "its state is unknown: a newer version may have written it",
    "state": "its record and the lists of jobs differ",
    "commits": "the number of its commits is wrong",
    "no_transcript": "it ended with a transcript, but there are neither a transcript nor files",
    "no_expiry": "a key never expires",
    "expires_early": "its commits expire before its record",
    "turns": "the counts of waiting jobs are wrong for this number of batches",
    "no_message": "a list names this webhook, but there is no message",
    "unlisted_message": "this webhook is neither in the outbox nor among the dead letters",
}
"""Description of each code of a problem."""
REMEDIES: Final = {
    "wrong_type": "find the program that wrote it, then delete the key",
    "unknown_state": "run this check with the newest version in use",
    "no_transcript": "run the job again: `stt-batch submit --force` with its source",
}
"""What a person has to do about a problem that `--fix` cannot repair, by its code."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A violated invariant. `subject`: the job, webhook or key. `detail`: facts for people, may be empty."""

    subject: str
    code: str
    detail: str
    repaired: bool = False


class LedgerCheck:
    """One check of all keys below STT_REDIS_PREFIX. Raises LedgerUnavailable."""

    def __init__(self, settings: Settings, connection: RedisConnection, *, fix: bool = False) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)
        self._fix = fix
        self._ttl_ms = int(max(UNFINISHED_TTL, settings.result_ttl).total_seconds() * 1000)
        self.checked = 0
        """Number of keys that were checked."""

    async def problems(self) -> AsyncIterator[Problem]:
        """Yield each problem as soon as it is found."""
        damaged = await self._wrong_shared_types()
        for problem in damaged:
            yield problem
        if any(self._keys.prefix + name == problem.subject for problem in damaged for name in _LISTS):
            return  # the scripts on jobs use these lists
        async for page in self._pages():
            for problem in await self._check_page(page):
                yield problem
        for name in _LISTS:
            async for ids in self._members(name):
                for problem in await self._check_jobs(await self._without_record(ids)):
                    yield problem
        for name in ("webhooks", "webhooks:dead"):
            async for ids in self._members(name):
                for problem in await self._check_webhooks(ids, only="no_message"):
                    yield problem
        for problem in await self._check(
            "check_turns", [("queue:turns", self._keys.pending, (self._keys.job(""),))], with_id=False
        ):
            yield problem

    async def check_job(self, job_id: str) -> list[Problem]:
        """Check one job."""
        return await self._check_jobs([job_id])

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def _wrong_shared_types(self) -> list[Problem]:
        names = list(SHARED_TYPES)
        types = await self._connection.pipeline(lambda p: [p.type(self._keys[name]) for name in names])
        return [
            Problem(self._keys[name], "wrong_type", f"it is a {kind}, not a {SHARED_TYPES[name]}")
            for name, kind in zip(names, types, strict=True)
            if kind not in ("none", SHARED_TYPES[name])
        ]

    async def _pages(self) -> AsyncIterator[list[str]]:
        """Yield the names of all keys below the prefix, without the prefix. Names may be repeated."""
        pattern, cursor = _GLOB.sub(r"\\\1", self._keys.prefix) + "*", 0
        while True:
            cursor, names = await self._connection.call(
                lambda redis, cursor=cursor: redis.scan(cursor, match=pattern, count=KEYS_PER_CALL)  # type: ignore[misc]
            )
            if names:
                self.checked += len(names)
                yield [name.removeprefix(self._keys.prefix) for name in names]
            if not cursor:
                return

    async def _check_page(self, names: Sequence[str]) -> list[Problem]:
        jobs, others = dict[str, None](), []
        for name in names:
            match = _JOB_KEY.fullmatch(name)
            if match is None:
                others.append(name)
            elif not match[2]:
                jobs[match[1]] = None
        orphans = [match[1] for name in names if (match := _JOB_KEY.fullmatch(name)) and match[2]]
        messages = [name.removeprefix("webhook:") for name in others if name.startswith("webhook:")]
        return [
            *await self._check_jobs(list(jobs)),
            *await self._check_jobs(await self._without_record(list(dict.fromkeys(orphans)))),
            *await self._check_webhooks(messages, only="unlisted_message"),
            *await self._check_expiry(others),
        ]

    async def _check_expiry(self, names: Sequence[str]) -> list[Problem]:
        keys = [self._keys[name] for name in names]
        ttls = await self._connection.pipeline(lambda p: [p.pttl(key) for key in keys]) if keys else []
        endless = [key for key, ttl in zip(keys, ttls, strict=True) if ttl == -1]
        if endless and self._fix:
            await self._connection.pipeline(lambda p: [p.pexpire(key, self._ttl_ms) for key in endless])
        return [Problem(key, "no_expiry", "", self._fix) for key in endless]

    # -- lists -----------------------------------------------------------------------------------------------------

    async def _members(self, name: str) -> AsyncIterator[list[str]]:
        """Yield all members of a sorted set, in pages."""
        key, cursor = self._keys[name], 0
        while True:
            cursor, page = await self._connection.call(
                lambda redis, cursor=cursor: redis.zscan(key, cursor, count=KEYS_PER_CALL)  # type: ignore[misc]
            )
            if page:
                yield [member for member, _ in page]
            if not cursor:
                return

    async def _without_record(self, job_ids: Sequence[str]) -> list[str]:
        """Return the ids that have no record. Jobs with a record are checked with their record."""
        if not job_ids:
            return []
        exists = await self._connection.pipeline(lambda p: [p.exists(self._keys.job(one)) for one in job_ids])
        return [job_id for job_id, found in zip(job_ids, exists, strict=True) if not found]

    async def _check_jobs(self, job_ids: Sequence[str]) -> list[Problem]:
        calls = [(job_id, self._keys.script_keys(job_id), ()) for job_id in job_ids]
        return await self._check("check_job", calls)

    async def _check_webhooks(self, messages: Sequence[str], *, only: str) -> list[Problem]:
        shared = (self._keys["webhooks"], self._keys["webhooks:dead"])
        calls = [(message, (*shared, self._keys[f"webhook:{message}"]), ()) for message in messages]
        return [problem for problem in await self._check("check_webhook", calls) if problem.code == only]

    async def _check(
        self, script: str, calls: Sequence[tuple[str, Sequence[str], Sequence[str]]], *, with_id: bool = True
    ) -> list[Problem]:
        """Run a script for each (subject, keys, first arguments), and again without repairs where it found problems, to
        learn which of them remain."""

        async def run(some: Sequence[tuple[str, Sequence[str], Sequence[str]]], *, fix: bool) -> list[list[str]]:
            found: list[list[str]] = []
            for first in range(0, len(some), KEYS_PER_CALL):
                page: list[tuple[Sequence[str], Sequence[str | int | float]]] = [
                    (keys, [*((subject,) if with_id else args), int(fix), self._ttl_ms])
                    for subject, keys, args in some[first : first + KEYS_PER_CALL]
                ]
                found += await self._connection.script_many(script, page)
            return found

        answers = await run(calls, fix=self._fix)
        wrong = [(call, answer) for call, answer in zip(calls, answers, strict=True) if answer]
        remaining = await run([call for call, _ in wrong], fix=False) if self._fix and wrong else [a for _, a in wrong]
        return [
            Problem(call[0], code, detail, code not in left[::2])
            for (call, answer), left in zip(wrong, remaining, strict=True)
            for code, detail in zip(answer[::2], answer[1::2], strict=True)
        ]


__all__ = ["REMEDIES", "TEXTS", "LedgerCheck", "Problem"]
