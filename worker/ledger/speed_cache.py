"""Caches the highest sending speed that a service accepted from a job with the speed `auto`. The next job starts at
that speed and not at real time."""

from __future__ import annotations

import hashlib

from worker.ledger.connection import RedisConnection
from worker.ledger.expiry import SPEED_TTL
from worker.ledger.keys import Keys


class SpeedCache:
    """Maps the address of a service to the last speed, as a multiple of real time.

    Raises LedgerUnavailable when Redis does not answer."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def get(self, url: str) -> float | None:
        found = await self._connection.call(lambda redis: redis.get(self._key(url)))
        return float(found) if found else None

    async def put(self, url: str, factor: float) -> None:
        text = f"{factor:.2f}"
        await self._connection.call(lambda redis: redis.set(self._key(url), text, ex=SPEED_TTL))

    def _key(self, url: str) -> str:
        return self._keys[f"speed:{hashlib.sha256(url.encode()).hexdigest()[:16]}"]
