"""Caches the sha256 of files in Redis, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from worker.ledger.expiry import HASH_TTL

if TYPE_CHECKING:
    from worker.ledger.connection import RedisConnection
    from worker.ledger.keys import Keys

FILES_PER_CALL: Final = 500
"""Files in one round trip to Redis."""


class HashCache:
    """Maps the absolute path of a file to its stamp and to the sha256 of its content, in hexadecimal.

    The stamp is a text that changes when the file is modified or replaced. The cached sha256 of a file is valid while
    the file's stamp equals the cached stamp. Raises LedgerUnavailable when Redis does not answer.
    """

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def get_many(self, stamps: Mapping[str, str]) -> dict[str, str]:
        """Return path -> sha256 for the files of `stamps` (path -> stamp) that are cached with the same stamp."""
        paths, found = list(stamps), {}
        for first in range(0, len(paths), FILES_PER_CALL):
            chunk = paths[first : first + FILES_PER_CALL]

            def ask(pipeline: Any, chunk: Sequence[str] = chunk) -> None:
                for path in chunk:
                    pipeline.getex(self._key(path), ex=HASH_TTL)

            for path, text in zip(chunk, await self._connection.pipeline(ask), strict=True):
                stamp, _, content = (text or "").partition("\n")
                if content and stamp == stamps[path]:
                    found[path] = content
        return found

    async def get(self, path: str) -> tuple[str | None, str | None]:
        """Return the cached stamp and sha256 of a path, or (None, None) if the path is not cached.

        The sha256 is valid only if the file has the returned stamp; the caller must compare."""
        text = await self._connection.call(lambda redis: redis.get(self._key(path)))
        stamp, _, content = (text or "").partition("\n")
        return (stamp, content) if content else (None, None)

    async def put(self, contents: Mapping[str, tuple[str, str]], *, ttl: timedelta = HASH_TTL) -> None:
        """Store path -> (stamp, sha256) for several files."""
        texts = {self._key(path): f"{stamp}\n{content}" for path, (stamp, content) in contents.items()}
        names = list(texts)
        for first in range(0, len(names), FILES_PER_CALL):
            chunk = names[first : first + FILES_PER_CALL]

            def write(pipeline: Any, chunk: Sequence[str] = chunk) -> None:
                for name in chunk:
                    pipeline.set(name, texts[name], ex=ttl)

            await self._connection.pipeline(write)

    def _key(self, path: str) -> str:
        return self._keys[f"content:{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"]
