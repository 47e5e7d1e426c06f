"""Takes over Celery messages from the lists without STT_REDIS_PREFIX, which versions before schema 3 used."""

from __future__ import annotations

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import DEFAULT_PREFIX, Keys, unprefixed_lists


class OldMessages:
    """Belongs to one event loop."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection, self._keys = connection, keys

    async def adopt(self, queue: str, limit: int = 500) -> int:
        """Move messages to the present lists of `queue`. Returns their number. Raises LedgerUnavailable.

        A whole job that a producer of an earlier version has sent is only in its message. Does nothing unless the
        prefix is the default, because fleets with different prefixes shared the old lists."""
        if self._keys.prefix != DEFAULT_PREFIX:
            return 0
        lists = [*unprefixed_lists(queue), *self._keys.queue_lists(queue)]
        return int(await self._connection.script("adopt", lists, (limit,)))


__all__ = ["OldMessages"]
