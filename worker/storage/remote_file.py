"""What `worker.storage.sources.web` and `worker.storage.object_store` give to who reads a remote source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from worker.storage.address import Address

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ContentVersion:
    """What a server says of the content it gives."""

    size_bytes: int | None
    etag: str | None
    modified: str | None

    @property
    def identifies(self) -> bool:
        """Whether every change of the content changes the version."""
        return self.etag is not None or self.modified is not None


@dataclass(frozen=True, slots=True)
class RemoteBody:
    """An opened remote source."""

    version: ContentVersion
    offset: int
    """Where the chunks begin: not where they were asked for, when a server cannot do that."""
    chunks: AsyncIterator[bytes]
    """About CHUNK_BYTES each. Raises SourceUnavailable when the connection breaks."""


def remote_content_id(address: Address, version: ContentVersion) -> str:
    """The identity of a remote content: the address without a signing query, with ETag and length; without an ETag the
    whole address, with the length and the time of the last change."""
    if version.etag is not None:
        return f"url:{address.shown}\n{version.etag}\n{version.size_bytes}"
    return f"url:{address.text}\n{version.modified}\n{version.size_bytes}"
