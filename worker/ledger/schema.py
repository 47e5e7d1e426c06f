"""Which versions of the product can read what lies in Redis: the hash `schema` below the prefix.

| field     | holds                                                                          |
|-----------|--------------------------------------------------------------------------------|
| `version` | the newest form that anything here may have                                    |
| `reader`  | the least version that reads all of it; older ones keep their hands off it     |

| version | what changed |
|---------|--------------|
| 1       | the first    |

Who changes the form of a key so that an older worker would misread it raises VERSION and READER; who only adds what an
older one may pass over raises VERSION alone. Every version reads what all before it wrote: `tests/golden` holds that.

The scripts `create`, `acquire` and `webhooks` look at it in the same step, so a worker that runs while the first one of
a newer version starts takes no job and no webhook any more. A Redis without the hash is empty, or of version 1.
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
    """What a Redis says of itself."""

    version: int
    reader: int

    @property
    def readable(self) -> bool:
        """By this version of the product."""
        return self.reader <= VERSION


async def read(connection: RedisConnection, keys: Keys) -> Schema | None:
    """None where nothing was written yet. Raises LedgerUnavailable."""
    version, reader = await connection.call(lambda redis: redis.hmget(keys["schema"], "version", "reader"))
    return Schema(int(version), int(reader or version)) if version else None


async def register(connection: RedisConnection, keys: Keys, ttl_ms: int) -> None:
    """Note that this version writes here from now on. Raises LedgerNewer when it must not, and LedgerUnavailable."""
    least = await connection.script("schema", keys.pending, (*WRITTEN, ttl_ms))
    if least:
        raise newer_error(least)


def raise_if_newer(answers: Sequence[Sequence[str]]) -> None:
    """Of the scripts `create` and `acquire`. Raises LedgerNewer."""
    for answer in answers:
        if answer[0] == "newer":
            raise newer_error(answer[1])


def newer_error(least: str) -> LedgerNewer:
    return LedgerNewer(
        f"this Redis holds jobs of version {least} of their form, and this stt-batch reads up to version {VERSION}: "
        "install a newer one (or set STT_REDIS_PREFIX to another prefix, for a fleet apart)"
    )


__all__ = ["READER", "VERSION", "Schema", "newer_error", "raise_if_newer", "read", "register"]
