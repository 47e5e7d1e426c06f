"""The version of the data format in Redis, recorded in the hash `schema` below STT_REDIS_PREFIX.

| field     | contains                                                                                |
|-----------|-----------------------------------------------------------------------------------------|
| `version` | the newest format in which records may have been written                                |
| `reader`  | the oldest version that can read all records; older programs must not read or write     |

| version | what changed |
|---------|--------------|
| 1       | the first format |
| 2       | the sorted sets `listing` and `listing:STATE`, and the field `listed` of a job |
| 3       | the keys of Celery are below STT_REDIS_PREFIX and `celery:`; the field `last_owner` of a job |

Developers: raise VERSION and READER for a change that an older worker would misread, but only VERSION for an addition
that an older worker may ignore. Every version reads the formats of all earlier ones; `tests/golden` checks this.

The scripts `create`, `acquire` and `webhook_outbox` check the hash in the same atomic step as their work. A running
worker therefore takes no more jobs and webhooks as soon as a newer version registers that it writes a format which the
worker cannot read. A Redis without the hash is empty, or has version 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.errors import LedgerNewer
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

VERSION: Final = 3
"""The format that this program writes."""
READER: Final = 1
"""The oldest version that can read this format."""
WRITTEN: Final = (VERSION, READER)


@dataclass(frozen=True, slots=True)
class Schema:
    """The contents of the hash `schema` in Redis."""

    version: int
    reader: int

    @property
    def readable(self) -> bool:
        """Whether this program can read all records in Redis."""
        return self.reader <= VERSION


async def read(connection: RedisConnection, keys: Keys) -> Schema | None:
    """Return the schema of this Redis, or None if no program has registered yet. Raises LedgerUnavailable."""
    version, reader = await connection.call(lambda redis: redis.hmget(keys["schema"], "version", "reader"))
    return Schema(int(version), int(reader or version)) if version else None


async def register(connection: RedisConnection, keys: Keys, ttl_ms: int) -> None:
    """Record in Redis that a program of version VERSION writes there. The record expires if no program repeats this
    call within `ttl_ms`.

    Raises LedgerNewer if Redis contains records that this program cannot read, and LedgerUnavailable."""
    oldest = await connection.script("schema", keys.pending, (*WRITTEN, ttl_ms))
    if oldest:
        raise newer_error(oldest)


def raise_if_newer(answers: Sequence[Sequence[str]]) -> None:
    """Check the answers of the scripts `create` and `acquire`. Raises LedgerNewer if this program is too old."""
    for answer in answers:
        if answer[0] == "newer":
            raise newer_error(answer[1])


def newer_error(oldest: str) -> LedgerNewer:
    """Return the error for a Redis that only version `oldest` and newer ones can read."""
    return LedgerNewer(
        f"this Redis contains records of version {oldest}, and this stt-batch reads records up to version {VERSION}: "
        "install a newer stt-batch (or set STT_REDIS_PREFIX to another prefix, for a separate fleet)"
    )


__all__ = ["READER", "VERSION", "Schema", "newer_error", "raise_if_newer", "read", "register"]
