"""What files held when they were last read, so that a file that has not changed since need not be read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from worker.storage.connection import Connection
from worker.storage.keys import Keys

REMEMBERED: Final = timedelta(days=30)
"""From the last time a file was asked for."""
AT_ONCE: Final = 500
"""Files in one round trip."""


class Contents:
    """Contents (see `worker.storage.sources.content_of`) by absolute path and mark: a text that changes when the file
    is written to or replaced. Raises LedgerUnavailable when Redis does not answer."""

    def __init__(self, connection: Connection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def recall(self, marks: Mapping[str, str]) -> dict[str, str]:
        """The contents of those of the files (path to mark) that were remembered with this mark."""
        paths, found = list(marks), {}
        for first in range(0, len(paths), AT_ONCE):
            some = paths[first : first + AT_ONCE]

            def ask(pipeline: Any, some: Sequence[str] = some) -> None:
                for path in some:
                    pipeline.getex(self._key(path), ex=REMEMBERED)

            for path, text in zip(some, await self._connection.many(ask), strict=True):
                mark, _, content = (text or "").partition("\n")
                if content and mark == marks[path]:
                    found[path] = content
        return found

    async def remember(self, path: str, mark: str, content: str) -> None:
        text = f"{mark}\n{content}"
        await self._connection.call(lambda redis: redis.set(self._key(path), text, ex=REMEMBERED))

    def _key(self, path: str) -> str:
        return self._keys[f"content:{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"]
