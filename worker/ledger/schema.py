"""Versions that can read the keys in Redis, in the hash `schema` below the prefix.

| field     | contains                                                                       |
|-----------|--------------------------------------------------------------------------------|
| `version` | the newest version whose forms may be in Redis                                 |
| `reader`  | the oldest version that can read all forms; older ones must not touch the keys |

| version | what changed |
|---------|--------------|
| 1       | the first    |

A change that an older worker would misread raises VERSION and READER; an addition that an older worker may ignore
raises VERSION only. Every version reads the forms of all earlier ones; `tests/golden` checks this.

The scripts `create`, `acquire` and `webhooks` check the hash in the same step as their work. A running worker therefore
takes no more jobs and webhooks as soon as a newer version writes forms that it cannot read. A Redis without the hash is
empty, or of version 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from worker.errors import LedgerNewer
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

VERSION: Final = 1
READER: Final = 1
WRITTEN: Final = (VERSION, READER)


@dataclass(frozen=True, slots=True)
class Schema:
    """The hash `schema` of a Redis."""

    version: int
    reader: int

    @property
    def readable(self) -> bool:
        """Whether this version of the product can read the keys."""
        return self.reader <= VERSION


async def read(connection: RedisConnection, keys: Keys) -> Schema | None:
    """The schema of this Redis, or None if nothing was written yet. Raises LedgerUnavailable."""
    version, reader = await connection.call(lambda redis: redis.hmget(keys["schema"], "version", "reader"))
    return Schema(int(version), int(reader or version)) if version else None


async def register(connection: RedisConnection, keys: Keys, ttl_ms: int) -> None:
    """Record that this version writes to this Redis. Raises LedgerNewer if it must not, and LedgerUnavailable."""
    oldest = await connection.script("schema", keys.pending, (*WRITTEN, ttl_ms))
    if oldest:
        raise newer_error(oldest)


def raise_if_newer(answers: Sequence[Sequence[str]]) -> None:
    """Checks the answers of the scripts `create` and `acquire`. Raises LedgerNewer."""
    for answer in answers:
        if answer[0] == "newer":
            raise newer_error(answer[1])


def newer_error(oldest: str) -> LedgerNewer:
    """The error for a Redis that only version `oldest` and newer ones can read."""
    return LedgerNewer(
        f"this Redis contains records of version {oldest}, and this stt-batch reads records up to version {VERSION}: "
        "install a newer stt-batch (or set STT_REDIS_PREFIX to another prefix, for a separate fleet)"
    )


__all__ = ["READER", "VERSION", "Schema", "newer_error", "raise_if_newer", "read", "register"]
