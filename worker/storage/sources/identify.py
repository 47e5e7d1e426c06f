"""Identifies the content of sources that untrusted producers choose, with limits on time, threads and connections.

Each file is hashed in its own daemon thread. So a read that never returns (for example, from a dead network mount)
delays neither other files nor the end of the process. Each producer can use only a part of the threads and connections.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from worker.audio.opened_file import SourceFile
from worker.errors import SourceError, SourceUnavailable
from worker.settings import Settings
from worker.storage.address import Address
from worker.storage.sources.background_hash import lower_priority
from worker.storage.sources.local_file import open_local
from worker.storage.sources.wildcards import content_of
from worker.transient_os_errors import source_error

MAX_HASHES: Final = 16
"""Maximum number of files that are hashed at the same time."""
PRODUCER_HASHES: Final = 4
"""Maximum number of files of one producer that are hashed at the same time."""
MAX_REQUESTS: Final = 64
"""Maximum number of concurrent requests to servers."""
PRODUCER_REQUESTS: Final = 16
"""Maximum number of concurrent requests to servers for one producer."""
GRACE_S: Final = 5.0
"""A thread that has not ended this many seconds after the time limit is abandoned: its caller gets an error."""
MAX_THREADS: Final = 64
"""Maximum number of threads, including abandoned ones; above it no further file is opened. As at most MAX_HASHES files
are hashed, so many threads mean that reads do not return."""
_BLOCK_BYTES: Final = 1 << 19


class SourceIdentifier:
    """Identifies contents for many producers concurrently. Belongs to one event loop."""

    def __init__(self, settings: Settings, limit_s: float) -> None:
        """`limit_s`: time limit for one source, in seconds."""
        self._settings = settings
        self._limit_s = limit_s
        self._hashes, self._addresses = asyncio.Semaphore(MAX_HASHES), asyncio.Semaphore(MAX_REQUESTS)
        self._producers: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._pending: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._threads = 0

    async def content_of(self, source: Address, lane: str = "") -> tuple[str, str | None]:
        """Return the identity of a source's content (see `wildcards.content_of`). For a file, also return its stamp
        (see `worker.audio.opened_file.FileStamp`) before it was read; otherwise return None as the stamp.

        `lane`: name of the producer. Cancelling the call stops the reading. Raises SourceError, and SourceUnavailable
        if the time limit is over.
        """
        # The key contains the limit, because each producer has two limits: one for files, and one for requests to
        # servers.
        key = lane, PRODUCER_HASHES if source.is_file else PRODUCER_REQUESTS
        self._pending[key] += 1
        try:
            limit = self._producers.setdefault(key, asyncio.Semaphore(key[1]))
            # The producer's limit comes first: while a producer waits for it, it must not occupy a place that all
            # producers share.
            async with limit, self._hashes if source.is_file else self._addresses:
                return await self._local(source) if source.is_file else (await self._remote(source), None)
        finally:
            self._pending[key] -= 1
            if not self._pending[key]:
                # Producers choose their names, so the limits of idle ones are deleted: memory must not grow with the
                # number of names.
                del self._pending[key], self._producers[key]

    async def _remote(self, source: Address) -> str:
        try:
            async with asyncio.timeout(self._limit_s):
                return await content_of(source, self._settings)
        except TimeoutError:
            raise self._too_slow(source) from None

    async def _local(self, source: Address) -> tuple[str, str | None]:
        if self._threads >= MAX_THREADS:
            reason = "reads of earlier files do not return; check the disk or the mount"
            raise SourceUnavailable(f"{source}: cannot be read now: {reason}")
        loop = asyncio.get_running_loop()
        digest: asyncio.Future[tuple[str, str | None]] = loop.create_future()
        stopped, deadline = threading.Event(), time.monotonic() + self._limit_s

        def check() -> None:
            if stopped.is_set() or time.monotonic() > deadline:
                raise self._too_slow(source)

        def work() -> None:
            lower_priority()
            result: tuple[str, str | None] | None = None
            error: Exception | None = None
            try:
                with open_local(source, self._settings) as file:
                    stamp = str(file.stamp())
                    result = hash_regular_file(file, check), stamp
            except Exception as exc:  # noqa: BLE001  raised where it is awaited
                error = exc
            with suppress(RuntimeError):  # raised if the event loop is closed; then no caller waits for the result
                loop.call_soon_threadsafe(_settle, digest, result, error)

        self._threads += 1
        digest.add_done_callback(lambda _: self._forget())
        threading.Thread(target=work, name="stt-identify", daemon=True).start()
        try:
            async with asyncio.timeout(self._limit_s + GRACE_S):
                # The shield leaves `digest` pending after a timeout. It is done when the thread really ends, and only
                # then is the thread no longer counted.
                return await asyncio.shield(digest)
        except TimeoutError:
            raise self._too_slow(source) from None
        finally:
            stopped.set()

    def _forget(self) -> None:
        self._threads -= 1

    def _too_slow(self, source: Address) -> SourceUnavailable:
        limit = f"{self._limit_s:g} s (STT_INTAKE_TIMEOUT_S)"
        return SourceUnavailable(
            f"{source}: could not be identified within {limit}; give the job an idempotency key, so that the "
            "source is not read here"
        )


def _settle(
    digest: asyncio.Future[tuple[str, str | None]], result: tuple[str, str | None] | None, error: Exception | None
) -> None:
    if digest.done():
        return
    if result is not None:
        digest.set_result(result)
    elif error is not None:
        digest.set_exception(error)
        digest.exception()  # marks it as retrieved: asyncio would report an exception that no caller awaits


def hash_regular_file(source: SourceFile, check: Callable[[], None]) -> str:
    """Return the sha256 of a file in hexadecimal. `check` is called after each block and may raise to stop the reading.

    Raises WorkerShortage. Raises SourceError if the file has more content than its size at the start: it is a file of
    the kernel, or it is being written.
    """
    size = source.stamp().size_bytes
    try:
        with source.open(buffering=0) as file:
            digest, block, read = hashlib.sha256(), memoryview(bytearray(_BLOCK_BYTES)), 0
            while count := file.readinto(block):  # type: ignore[attr-defined]
                read += count
                # Files of the kernel can be endless, and so can a file that another program extends.
                if read > size:
                    has = f"has more content than its size of {size} bytes"
                    raise SourceError(f"{source}: {has}: it is being written, or not a regular file; try again later")
                digest.update(block[:count])
                check()
    except OSError as exc:
        raise source_error(exc, str(source)) from exc
    return digest.hexdigest()


__all__ = ["SourceIdentifier", "hash_regular_file"]
