"""Common types of remote sources: web servers (`sources.web`) and object stores (`object_store`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from worker.storage.address import Address

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ContentVersion:
    """The version of a content, as its server reports it. Missing facts are None."""

    size_bytes: int | None
    etag: str | None
    modified: str | None

    @property
    def identifies(self) -> bool:
        """Whether the server reports a fact that changes with the content."""
        return self.etag is not None or self.modified is not None


@dataclass(frozen=True, slots=True)
class RemoteBody:
    """An opened remote source."""

    version: ContentVersion
    offset: int
    """The first byte of the chunks. It is 0 if the server cannot start at the requested byte."""
    chunks: AsyncIterator[bytes]
    """The content in chunks of about CHUNK_BYTES. Raises SourceUnavailable when the connection breaks."""


def remote_content_id(address: Address, version: ContentVersion) -> str:
    """The identity of a remote content: the address without the query of a signature, the ETag and the length.

    Without an ETag: the whole address, the time of the last change and the length."""
    if version.etag is not None:
        return f"url:{address.shown}\n{version.etag}\n{version.size_bytes}"
    return f"url:{address.text}\n{version.modified}\n{version.size_bytes}"
