"""Caches the sha256 of files in Redis, so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from worker.audio.opened_file import FileStamp
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

TTL: Final = timedelta(days=30)
"""Lifetime of an entry after its last use, unless the caller gives another one."""
FILES_PER_CALL: Final = 500


def stamps_of(paths: Sequence[str]) -> dict[str, str]:
    """The stamps of the files that exist, by path (see `worker.audio.opened_file.FileStamp`). Blocks the thread."""
    stamps = {}
    for path in paths:
        with suppress(OSError, ValueError):
            stamps[path] = str(FileStamp.at(Path(path)))
    return stamps


class HashCache:
    """Maps the absolute path of a file and its stamp to its content.

    The stamp is a text that changes when the file is written to or replaced. The content is the sha256, as
    `worker.storage.sources.listing.content_of` gives it. Raises LedgerUnavailable when Redis does not answer.
    """

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection = connection
        self._keys = keys

    async def get_many(self, stamps: Mapping[str, str]) -> dict[str, str]:
        """The contents by path, for the files of `stamps` (path -> stamp) that are cached with the same stamp."""
        paths, found = list(stamps), {}
        for first in range(0, len(paths), FILES_PER_CALL):
            chunk = paths[first : first + FILES_PER_CALL]

            def ask(pipeline: Any, chunk: Sequence[str] = chunk) -> None:
                for path in chunk:
                    pipeline.getex(self._key(path), ex=TTL)

            for path, text in zip(chunk, await self._connection.pipeline(ask), strict=True):
                stamp, _, content = (text or "").partition("\n")
                if content and stamp == stamps[path]:
                    found[path] = content
        return found

    async def get(self, path: str) -> tuple[str | None, str | None]:
        """The cached stamp and sha256 of a path, or None and None. They are valid only if the open file has the same
        stamp."""
        text = await self._connection.call(lambda redis: redis.get(self._key(path)))
        stamp, _, content = (text or "").partition("\n")
        return (stamp, content) if content else (None, None)

    async def put(self, contents: Mapping[str, tuple[str, str]], *, ttl: timedelta = TTL) -> None:
        """Store contents: path -> (stamp, content)."""
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
