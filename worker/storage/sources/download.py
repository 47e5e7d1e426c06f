"""Opens a source as a local file: a path directly, a remote source after a download to a temporary file."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from worker.audio.opened_file import SourceFile
from worker.backoff import backoff_s
from worker.errors import SourceReplaced, SourceUnavailable
from worker.settings import Settings
from worker.storage.access_policy import check_source
from worker.storage.address import Address
from worker.storage.remote_file import ContentVersion, RemoteBody, remote_content_id
from worker.storage.sources.local_file import check_size, open_local
from worker.storage.sources.temp_space import DownloadSpace, check_free_space, download_space, temporary_file
from worker.transient_os_errors import raise_shortage

logger = structlog.get_logger(__name__)
MAX_FAILURES: Final = 5
"""A download fails after this many connections in a row that brought no new bytes."""
BACKOFF_S: Final = (0.5, 20.0)
"""First and longest pause between two connections of a download, in seconds."""


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A source that is open as a local file."""

    file: SourceFile
    """The open file. `local_copy` closes it at the end of its context."""
    name: str
    """The file name, for people."""
    shown: str
    """The path or address for records, without passwords and signatures."""
    sha256: str | None = None
    """sha256 of the content in hexadecimal. Only a downloaded source has it; it is None for a path."""
    content: str | None = None
    """Identity of the content of a downloaded source (see `remote_content_id`), or None for a path."""


@asynccontextmanager
async def local_copy(address: Address, settings: Settings) -> AsyncIterator[LocalSource]:
    """Yield the source as an open file. A downloaded file is deleted at the end of the context.

    If a connection breaks and the content has not changed, the download continues at the same byte. The length of the
    download is compared with the length that the server reports. A path is opened only once, so the file may be renamed
    or deleted after it is opened. Raises SourceRefused, SourceNotFound, SourceUnavailable, SourceError, WorkerShortage.
    """
    check_source(address, settings)
    if address.is_file:
        with await asyncio.to_thread(open_local, address, settings) as file:
            yield LocalSource(file, address.name, address.shown)
        return
    name = address.name or "source"
    async with temporary_file(name, settings) as path:
        download = _Download(address, path, settings)
        try:
            await download.run()
            with await asyncio.to_thread(SourceFile.at, path, address.shown, path.name) as file:
                yield LocalSource(file, name, address.shown, download.sha256, download.content)
        finally:
            # Delete the file before its space is released: a waiting download may start at once.
            path.unlink(missing_ok=True)
            await download.end()


def open_remote(
    address: Address, settings: Settings, offset: int = 0, known: ContentVersion | None = None
) -> AbstractAsyncContextManager[RemoteBody]:
    """Open a remote source for reading from the byte `offset` on; see `web.read` and `object_store.read`.

    `known`: the version that was read before, or None."""
    # The modules are imported only here: most sources are files, and producers should start quickly.
    if address.is_web:
        from worker.storage.sources import web  # noqa: PLC0415

        return web.read(address, offset, known, settings)
    from worker.storage import object_store  # noqa: PLC0415

    return object_store.read(address, offset, known, settings.s3_endpoint)


class _Download:
    """Downloads one source to a file, over several connections if some of them break."""

    def __init__(self, address: Address, path: Path, settings: Settings) -> None:
        self._address = address
        self._path = path
        self._settings = settings
        self._space: DownloadSpace = download_space(settings)
        self._reserved = 0
        self._at = 0
        self._version: ContentVersion | None = None
        self._deadline = asyncio.timeout(None)
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def content(self) -> str | None:
        return None if self._version is None else remote_content_id(self._address, self._version)

    async def run(self) -> None:
        """Download the whole content within STT_DOWNLOAD_TIMEOUT_S. The time of waiting for disk space is not included.

        Raises SourceUnavailable if the time is over."""
        limit_s = self._settings.download_timeout_s
        try:
            async with asyncio.timeout(limit_s) as self._deadline:
                await self._run()
        except TimeoutError:
            raise SourceUnavailable(
                f"{self._address.shown}: could not be downloaded within {limit_s:g} s (STT_DOWNLOAD_TIMEOUT_S)"
            ) from None

    async def _run(self) -> None:
        failures, reached = 0, 0
        with self._path.open("xb") as file:
            while True:
                try:
                    await self._receive(file)
                    return
                except SourceUnavailable as exc:
                    # Only bytes beyond the furthest position so far are treated as progress. Otherwise a source that is
                    # replaced again and again would be downloaded forever.
                    failures = 0 if self._at > reached else failures + 1
                    reached = max(reached, self._at)
                    if failures >= MAX_FAILURES:
                        raise
                    if isinstance(exc, SourceReplaced):
                        self._at, self._version = 0, None
                    pause_s = backoff_s(failures, *BACKOFF_S)
                    logger.info("download interrupted", error=str(exc), at_bytes=self._at, retry_in_s=round(pause_s, 2))
                    await asyncio.sleep(pause_s)

    async def end(self) -> None:
        """Release the disk space that was reserved for this download."""
        await self._space.release(self._reserved)
        self._reserved = 0

    async def _receive(self, file: BinaryIO) -> None:
        """Open one connection and receive the bytes that are still missing."""
        shown = self._address.shown
        async with open_remote(self._address, self._settings, self._at, self._version) as body:
            if body.offset != self._at or self._has_changed(body.version):
                # The server sends another part than the requested one, or another version. If it sends the content from
                # its start, the download starts over; another part cannot be joined to the bytes received before.
                if body.offset:
                    raise SourceReplaced(f"{shown}: was replaced while it was read")
                self._at = 0
            if self._at == 0:
                self._digest = hashlib.sha256()
            self._version, size = body.version, body.version.size_bytes
            # If the download starts over, the file still has the bytes of the old content.
            file.seek(self._at)
            file.truncate()
            if size is not None:
                check_size(size, shown, self._settings)
                await self._reserve(size)
            async for chunk in body.chunks:
                if size is not None and self._at + len(chunk) > size:
                    raise SourceUnavailable(f"{shown}: its server sends more than the {size} bytes that it announced")
                # The announced length is not trusted, and it may be missing.
                check_size(self._at + len(chunk), shown, self._settings)
                if self._at + len(chunk) > self._reserved:
                    self._space.grow(self._reserved, self._at + len(chunk) - self._reserved, shown)
                    self._reserved = self._at + len(chunk)
                await self._write(file, chunk)
        if size is not None and self._at < size:
            raise SourceUnavailable(f"{shown}: ended after {self._at} of {size} bytes")

    def _has_changed(self, version: ContentVersion) -> bool:
        """Whether `version` differs from the version of the bytes that were received before. Only values that both
        versions contain are compared."""
        known = self._version
        if known is None or self._at == 0:
            return False
        pairs = ((getattr(known, name), getattr(version, name)) for name in ("size_bytes", "etag", "modified"))
        return any(before != now for before, now in pairs if before is not None and now is not None)

    async def _reserve(self, size: int) -> None:
        """Reserve disk space for a file of `size` bytes; wait until other downloads release enough of it.

        The time limit of the download is suspended during the wait. Raises WorkerShortage and SourceError."""
        shown, clock = self._address.shown, asyncio.get_running_loop().time
        check_free_space(size - self._at, self._path.parent, shown)
        if size > self._reserved:
            # The time of waiting for space is not included, because it depends on other downloads and not on this
            # source.
            left_s = (self._deadline.when() or 0.0) - clock()
            self._deadline.reschedule(None)
            await self._space.reserve(size - self._reserved, shown)
            self._deadline.reschedule(clock() + left_s)
            self._reserved = size

    async def _write(self, file: BinaryIO, chunk: bytes) -> None:
        def write() -> None:
            file.write(chunk)
            # Flush each chunk, so that a full disk is reported at once and not when the file is closed.
            file.flush()
            self._digest.update(chunk)

        try:
            await asyncio.to_thread(write)
        except OSError as exc:
            raise_shortage(exc, self._address.shown)
            raise SourceUnavailable(
                f"{self._address.shown}: cannot be written to {self._path.parent}: {exc.strerror}; free some space, or"
                " set STT_TEMP_DIR"
            ) from exc
        self._at += len(chunk)
