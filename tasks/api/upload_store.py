"""Stores uploads in STT_UPLOADS: a folder, or a prefix in an object store, that the workers can read.

Each upload is one file `TOKEN/NAME` with a random token, so clients cannot choose or guess the address. The content is
hashed while it is written; it is never in memory as a whole.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import unicodedata
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from secrets import token_hex
from typing import BinaryIO, Final, Protocol

from tasks.address_fields import parse_source
from tasks.api.multipart import Buffer
from worker.errors import BadJob, OutputError, SettingsError, SourceRefused, WorkerShortage
from worker.settings import Settings
from worker.storage.access_policy import check_source
from worker.storage.address import Address

BUFFER_BYTES: Final = 1 << 17
"""Bytes that one upload collects before they are written."""
MAX_NAME_BYTES: Final = 200
_UNSAFE: Final = re.compile(
    r"[\x00-\x1f\x7f/\\<>:\"|?*\u0080-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """A complete upload."""

    address: Address
    sha256: str
    size_bytes: int


class UploadStore(Protocol):
    """A place for uploads."""

    def place(self, name: str) -> Address:
        """Return a new address for an upload with this file name."""
        ...

    async def write(self, address: Address, chunks: AsyncIterator[Buffer]) -> StoredUpload:
        """Write an upload. After an error or a cancellation, no part of it remains. Raises the errors of `chunks`,
        WorkerShortage and OutputError."""
        ...

    async def delete(self, address: Address) -> None:
        """Delete an upload, if it exists. Raises OutputError."""
        ...


def store_of(settings: Settings) -> UploadStore | None:
    """Return the store of the settings, or None if STT_UPLOADS is empty. Raises SettingsError."""
    if not settings.uploads:
        return None
    try:
        place = parse_source(settings.uploads)
        check_source(place, settings)
    except (BadJob, SourceRefused) as exc:
        raise SettingsError(f"STT_UPLOADS: {exc}") from None
    if place.is_web:
        raise SettingsError("STT_UPLOADS: must be a folder, or begin with s3://, gs:// or az://")
    if not place.is_file:
        return _ObjectUploads(place, settings.s3_endpoint)
    if not place.path.is_absolute():
        raise SettingsError("STT_UPLOADS: must be an absolute path, as the workers see it")
    try:
        place.path.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise SettingsError(
            f"STT_UPLOADS: {place}: cannot be created ({exc.strerror}); choose another folder"
        ) from None
    return _FolderUploads(place, int(settings.disk_free_gb * 1e9))


def safe_name(given: str) -> str:
    """Return the name of the stored file for the file name that a client sent: without folders and control
    characters, at most MAX_NAME_BYTES long. The extension is preserved."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", given))[-1]
    name = _UNSAFE.sub("_", last).strip(" .")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix[:20]
    room = MAX_NAME_BYTES - len(suffix.encode())
    return (stem.encode()[:room].decode("utf-8", "ignore") + suffix) or "upload"


class _FolderUploads:
    """Uploads in a folder. All file operations run in threads."""

    def __init__(self, folder: Address, free_bytes: int) -> None:
        self._folder = folder
        self._free_bytes = free_bytes

    def place(self, name: str) -> Address:
        return self._folder.below(f"{token_hex(16)}/{safe_name(name)}")

    async def write(self, address: Address, chunks: AsyncIterator[Buffer]) -> StoredUpload:
        path = address.path
        digest = hashlib.sha256()
        try:
            await asyncio.to_thread(self._check_space)
            file = await asyncio.to_thread(_create, path)
            try:
                async for block in _blocks(chunks):
                    await asyncio.to_thread(_append, file, digest, block)
                size = await asyncio.to_thread(_finish, file)
            finally:
                file.close()
        except OSError as exc:
            await asyncio.shield(self.delete(address))
            raise WorkerShortage(f"the upload cannot be stored ({exc.strerror}); try again later") from exc
        except BaseException:
            await asyncio.shield(self.delete(address))
            raise
        return StoredUpload(address, digest.hexdigest(), size)

    async def delete(self, address: Address) -> None:
        try:
            await asyncio.to_thread(_remove, address.path)
        except OSError as exc:
            raise OutputError(f"{address}: cannot be deleted ({exc.strerror})") from exc

    def _check_space(self) -> None:
        if shutil.disk_usage(self._folder.path).free < self._free_bytes:
            raise WorkerShortage("the disk of STT_UPLOADS is full (STT_DISK_FREE_GB); try again later")


class _ObjectUploads:
    """Uploads in an object store."""

    def __init__(self, folder: Address, endpoint: str) -> None:
        self._folder = folder
        self._endpoint = endpoint

    def place(self, name: str) -> Address:
        return self._folder.below(f"{token_hex(16)}/{safe_name(name)}")

    async def write(self, address: Address, chunks: AsyncIterator[Buffer]) -> StoredUpload:
        from worker.storage import object_store  # noqa: PLC0415  loads obstore

        digest, size = hashlib.sha256(), 0

        async def hashed() -> AsyncIterator[bytes]:
            nonlocal size
            async for block in _blocks(chunks):
                await asyncio.to_thread(digest.update, block)
                size += len(block)
                yield bytes(block)

        try:
            await object_store.put_stream(address, hashed(), self._endpoint)
        except BaseException:
            with suppress(OutputError):
                await asyncio.shield(self.delete(address))
            raise
        return StoredUpload(address, digest.hexdigest(), size)

    async def delete(self, address: Address) -> None:
        from worker.storage import object_store  # noqa: PLC0415

        await object_store.delete(address, self._endpoint)


async def _blocks(chunks: AsyncIterator[Buffer]) -> AsyncIterator[Buffer]:
    """Join small chunks to blocks of at least BUFFER_BYTES. Larger chunks are not copied: with a hundred uploads at
    once, each copy costs 25 MB."""
    block = bytearray()
    async for chunk in chunks:
        if not block and len(chunk) >= BUFFER_BYTES:
            yield chunk
            continue
        block += chunk
        if len(block) >= BUFFER_BYTES:
            full, block = block, bytearray()
            yield full
    if block:
        yield block


def _create(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True)
    return path.open("xb", buffering=0)


def _append(file: BinaryIO, digest: hashlib._Hash, block: Buffer) -> None:
    digest.update(block)
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]


def _finish(file: BinaryIO) -> int:
    # On disk before the job is accepted: a job must not outlive its audio.
    os.fsync(file.fileno())
    return file.tell()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        path.parent.rmdir()


__all__ = ["StoredUpload", "UploadStore", "safe_name", "store_of"]
