"""What `worker.storage.web` and `worker.storage.objects` give to who reads a remote source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Version:
    """What a server says of the content it gives."""

    size_bytes: int | None
    etag: str | None
    modified: str | None


@dataclass(frozen=True, slots=True)
class Body:
    """An opened source."""

    version: Version
    offset: int
    """Where the chunks begin: not where they were asked for, when a server cannot do that."""
    chunks: AsyncIterator[bytes]
    """About CHUNK_BYTES each. Raises SourceUnavailable when the connection breaks."""
