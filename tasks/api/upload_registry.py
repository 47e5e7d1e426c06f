"""Records all uploads in Redis, and deletes those that no job needs any more.

| key            | type | contains                                                                               |
|----------------|------|----------------------------------------------------------------------------------------|
| `http:uploads` | zset | `JOB ADDRESS` of each upload (JOB is empty until it is recorded), scored by the time of |
|                |      | the next check in seconds                                                              |
| `job:ID:upload`| text | sha256 of the upload of a job with an idempotency key                                  |

An upload is recorded before its first byte is written, and the process that receives it renews the record. So a process
that dies during an upload leaves a record, and another process deletes the file. After the upload is complete, its file
is deleted as soon as the record of the job has expired, or names another file.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Final

import structlog

from tasks.address_fields import parse_source
from tasks.api.upload_store import UploadStore
from tasks.job_spec import recorded
from worker.backoff import jittered
from worker.errors import BadJob, LedgerUnavailable, OutputError, SttError
from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys
from worker.ledger.ledger import JobRecord, Ledger
from worker.settings import Settings
from worker.storage.address import Address

_log: Final = structlog.get_logger(__name__)
PERIOD_S: Final = 30.0
UNCLAIMED_S: Final = 120.0
"""Seconds after the last renewal at which an upload without a job counts as abandoned."""
CHECK_S: Final = 1800.0
"""Seconds between two checks whether the job of an upload still exists."""
MAX_CHECKED: Final = 500
SUBMISSION_S: Final = 600.0
"""Maximum seconds between the upload and the record of its job."""


class UploadRegistry:
    """Belongs to the event loop of its connection."""

    def __init__(
        self, settings: Settings, connection: RedisConnection, ledger: Ledger, store: UploadStore | None
    ) -> None:
        self._connection, self._ledger, self._store = connection, ledger, store
        self._keys = Keys(settings.redis_prefix)
        self._key = self._keys["http:uploads"]
        self._ttl = max(UNFINISHED_TTL, settings.result_ttl * 2)
        self._open: set[str] = set()
        """Members of the uploads that this process receives now."""

    async def begin(self, address: Address) -> None:
        """Record an upload before it is written. Raises LedgerUnavailable."""
        member = _member("", address)
        await self._put({member: time.time() + UNCLAIMED_S})
        self._open.add(member)  # only now: after an error, no call of `forget` follows

    async def assign(self, address: Address, job_id: str) -> None:
        """Record the job of a complete upload. Raises LedgerUnavailable."""
        self._open.discard(_member("", address))
        await self._put({_member(job_id, address): time.time() + CHECK_S})
        await self._connection.call(lambda redis: redis.zrem(self._key, _member("", address)))

    async def first_content(self, job_id: str, content: str, *, exists: bool, replace: bool) -> str:
        """Return the sha256 of the first upload for a job with an idempotency key. This is `content` for the first
        request, and with `replace`. `exists`: whether the job exists. Raises LedgerUnavailable.

        Of several requests at the same time, one is the first, although the job does not exist yet. Call
        `keep_content` when the job exists, and `forget_content` if it could not be recorded."""
        key, short_ms = self._keys.upload(job_id), int(SUBMISSION_S * 1000)
        _, first, left_ms = await self._connection.pipeline(
            lambda p: (p.set(key, content, px=short_ms, nx=not replace), p.get(key), p.pttl(key))
        )
        if exists:
            await self._connection.call(lambda redis: redis.pexpire(key, self._ttl))
        elif first != content and left_ms > short_ms:  # that of an earlier job, whose record has expired
            await self._connection.call(lambda redis: redis.set(key, content, px=short_ms))
            return content
        return str(first)

    async def keep_content(self, job_id: str, content: str) -> None:
        """Keep the sha256 of the upload as long as the record of its job. Raises LedgerUnavailable.

        It is written again, because an equal upload at the same moment that was refused may have called
        `forget_content`."""
        await self._connection.call(lambda redis: redis.set(self._keys.upload(job_id), content, px=self._ttl))

    async def forget_content(self, job_id: str) -> None:
        """Let another upload use the key, because no job was recorded. Without Redis, the sha256 expires."""
        with suppress(LedgerUnavailable):
            await self._connection.call(lambda redis: redis.delete(self._keys.upload(job_id)))

    async def check_soon(self, address: Address, job_id: str) -> None:
        """Let the next `clean` look at the upload of a job that may read another file now. Raises LedgerUnavailable."""
        await self._put({_member(job_id, address): time.time()})

    async def forget(self, address: Address, job_id: str = "") -> None:
        """Remove the record of an upload that was deleted. Without Redis, the next `clean` removes it."""
        member = _member(job_id, address)
        self._open.discard(member)
        with suppress(LedgerUnavailable):
            await self._connection.call(lambda redis: redis.zrem(self._key, member))

    async def run(self) -> None:
        """Renew the records of open uploads and delete unneeded files until cancelled."""
        while True:
            try:
                if self._open:
                    await self._put(dict.fromkeys(self._open, time.time() + UNCLAIMED_S))
                await self.clean()
            except LedgerUnavailable as exc:
                _log.warning("uploads: not cleaned up", error=str(exc))
            except Exception:  # noqa: BLE001  logged
                _log.exception("uploads: unexpected error; the cleaning continues")
            await asyncio.sleep(jittered(PERIOD_S))

    async def clean(self, now: float | None = None) -> int:
        """Check the uploads that are due, and delete those that no job needs. Returns the number of deleted ones.

        `now`: the time in seconds since 1970; default: the current time. Raises LedgerUnavailable."""
        if self._store is None:
            return 0
        now, deleted = time.time() if now is None else now, 0
        members: list[str] = await self._connection.call(
            lambda redis: redis.zrangebyscore(self._key, "-inf", now, start=0, num=MAX_CHECKED)
        )
        members = [member for member in members if member not in self._open]
        records = await self._ledger.get_many([member.partition(" ")[0] for member in members])
        for member, record in zip(members, records, strict=True):
            text = member.partition(" ")[2]
            if record is not None and _names(record, text):
                await self._put({member: now + CHECK_S})
                continue
            try:
                await self._store.delete(parse_source(text))
            except (OutputError, BadJob) as exc:
                _log.warning("uploads: a file cannot be deleted", error=str(exc))
                await self._put({member: now + CHECK_S})
                continue
            await self._connection.call(lambda redis, member=member: redis.zrem(self._key, member))  # type: ignore[misc]
            deleted += 1
        return deleted

    async def _put(self, members: dict[str, float]) -> None:
        await self._connection.pipeline(lambda p: (p.zadd(self._key, members), p.pexpire(self._key, self._ttl)))


def _member(job_id: str, address: Address) -> str:
    return f"{job_id} {address.text}"


def _names(record: JobRecord, address: str) -> bool:
    """Whether the recorded job reads this upload. A job that this version cannot read may need it."""
    try:
        return recorded(record.spec).source.text == address
    except SttError:
        return True


__all__ = ["UploadRegistry"]
