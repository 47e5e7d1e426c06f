"""What files held when they were last read, so that a file that has not changed since need not be read again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from worker.audio.opened_file import Stamp
from worker.ledger.connection import Connection
from worker.ledger.keys import Keys

REMEMBERED: Final = timedelta(days=30)
"""From the last time a file was asked for, unless told otherwise."""
AT_ONCE: Final = 500
"""Files in one round trip."""


def stamps_of(paths: Sequence[str]) -> dict[str, str]:
    """The marks of those of the files that are there. Blocks the thread."""
    stamps = {}
    for path in paths:
        with suppress(OSError, ValueError):
            stamps[path] = str(Stamp.at(Path(path)))
    return stamps


class Contents:
    """Contents by absolute path and mark: a text that changes when the file is written to or replaced.

    Contents come from `worker.storage.sources.listing.content_of`. Raises LedgerUnavailable when
    Redis does not answer.
    """

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

    async def known(self, path: str) -> tuple[str | None, str | None]:
        """The remembered mark and sha256 of a path. They describe the current file only if the mark equals that of
        the open file."""
        text = await self._connection.call(lambda redis: redis.get(self._key(path)))
        mark, _, content = (text or "").partition("\n")
        return (mark, content) if content else (None, None)

    async def remember(self, contents: Mapping[str, tuple[str, str]], *, ttl: timedelta = REMEMBERED) -> None:
        """Path to mark and content."""
        texts = {self._key(path): f"{mark}\n{content}" for path, (mark, content) in contents.items()}
        names = list(texts)
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]

            def write(pipeline: Any, some: Sequence[str] = some) -> None:
                for name in some:
                    pipeline.set(name, texts[name], ex=ttl)

            await self._connection.many(write)

    def _key(self, path: str) -> str:
        return self._keys[f"content:{hashlib.sha256(path.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}"]
