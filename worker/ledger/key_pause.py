"""Reads how long the service demands a pause of an API key (`Retry-After`), for displays.

`worker.ledger.session_limiter` records the pause. Nothing is streamed with this key until it is over.
"""

from __future__ import annotations

import hashlib
from typing import Final

from worker.ledger.connection import RedisConnection
from worker.settings import Settings

MAX_DIGITS: Final = 16
"""Maximum characters of a stored time; a longer text is not a time."""


def limiter_key(settings: Settings, part: str) -> str:
    """Return the name of a Redis key of the session limiter for the API key of the settings."""
    # Hashed, because the API key must not be stored in Redis or be recoverable from a key name. The word `governor` is
    # part of the keys' names in Redis, which workers of several versions share, so it must not change.
    secret = settings.api_key.get_secret_value()
    name = hashlib.sha256(f"stt-batch governor\n{secret}".encode()).hexdigest()[:16]
    return f"{settings.redis_prefix}governor:{name}:{part}"


class KeyPause:
    """Reads the pause of the API key of the settings. Methods raise LedgerUnavailable."""

    def __init__(self, connection: RedisConnection, settings: Settings) -> None:
        self._connection, self._key = connection, limiter_key(settings, "state")

    async def left_s(self) -> float:
        """Return the seconds until the pause is over by the clock of the Redis server, or 0 without a pause."""
        closed, (seconds, microseconds) = await self._connection.pipeline(
            lambda p: (p.hget(self._key, "closed"), p.time()), each=True
        )
        if not isinstance(closed, str) or not closed.isdecimal() or len(closed) > MAX_DIGITS:
            return 0.0
        return max(0.0, int(closed) / 1000 - (int(seconds) + int(microseconds) / 1e6))
