"""Finds jobs and batches by the beginning of their id, as people type it in a terminal."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

IDS_PER_CALL: Final = 5_000
"""Number of ids that Redis compares in one call. A call takes about a millisecond."""
MAX_CALLS: Final = 50
"""Maximum number of calls per index. `Ledger` limits the number of ids in an index."""
MAX_CHECKED: Final = 500
"""Maximum number of matching ids of which the command checks whether they have expired."""
MAX_NAMED: Final = 5
"""Maximum number of ids that the error for an ambiguous beginning names."""
_MAGIC: Final = re.compile(r"([*?\[\]\\^])")


class IdSearch:
    """Finds ids by their beginning. Methods raise LedgerUnavailable."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection, self._keys = connection, keys

    async def complete(self, text: str) -> str:
        """Return the id of the only job or batch that begins with `text`. Returns `text` unchanged if it is an id
        itself, or if no id begins with it. Raises BadJob if several ids do."""
        if not text or await self._existing([text]):
            return text
        found: set[str] = set()
        for index in ("batches", "jobs"):
            found |= await self._beginning_with(index, text)
        alive = await self._existing(sorted(found)[:MAX_CHECKED])
        if len(alive) > 1:
            names = ", ".join(alive[:MAX_NAMED]) + (", …" if len(alive) > MAX_NAMED else "")
            raise BadJob(f"{text}: several jobs or batches begin with it ({names}); type more of the id")
        return alive[0] if alive else text

    async def _existing(self, ids: Sequence[str]) -> list[str]:
        """Return the ids whose job or batch has not expired. The indexes also contain expired ones."""
        if not ids:
            return []
        names = [(self._keys.job(one), self._keys.batch(one)) for one in ids]
        answers = await self._connection.pipeline(lambda p: [p.exists(*pair) for pair in names])
        return [one for one, exists in zip(ids, answers, strict=True) if exists]

    async def _beginning_with(self, index: str, text: str) -> set[str]:
        pattern, cursor, found = _MAGIC.sub(r"\\\1", text) + "*", 0, set[str]()
        for _ in range(MAX_CALLS):
            cursor, entries = await self._connection.call(
                lambda redis, cursor=cursor: redis.zscan(  # type: ignore[misc]
                    self._keys[index], cursor, match=pattern, count=IDS_PER_CALL
                )
            )
            found.update(name for name, _ in entries)
            if not int(cursor):
                break
        return found
