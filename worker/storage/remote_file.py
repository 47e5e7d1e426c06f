"""Defines the types that are used for both kinds of remote sources: web servers (`sources.web`) and object stores
(`object_store`)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from worker.storage.address import Address

CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class ContentVersion:
    """Length, ETag and time of the last change of a content, as the server reports them. A value that the server does
    not report is None."""

    size_bytes: int | None
    etag: str | None
    modified: str | None


@dataclass(frozen=True, slots=True)
class RemoteBody:
    """A remote source that is open for reading."""

    version: ContentVersion
    offset: int
    """Position in the content of the first byte of `chunks`; 0 if the server cannot start at the requested byte."""
    chunks: AsyncIterator[bytes]
    """The content in chunks of about CHUNK_BYTES. Raises SourceUnavailable when the connection breaks."""


def remote_content_id(address: Address, version: ContentVersion) -> str:
    """Return a text that identifies a remote content. It consists of the address, the ETag and the length. If there is
    no ETag, it contains the time of the last change instead.

    If there is an ETag, the query of the address is removed, so that two signed addresses of the same content give the
    same text. If there is no ETag, the address is used as it was entered."""
    # The query of a signed address changes with each signature.
    if version.etag is not None:
        return f"url:{address.shown}\n{version.etag}\n{version.size_bytes}"
    return f"url:{address.text}\n{version.modified}\n{version.size_bytes}"
