"""Identifies the content of sources that untrusted producers name, within limits of time and threads.

Each file is hashed in its own daemon thread, so a read that never returns (a dead network mount) delays neither other
files nor the end of the process. A lane is one producer; it gets a share of the threads and connections.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
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
from worker.storage.sources.listing import content_of
from worker.storage.sources.local_file import open_local
from worker.transient_os_errors import source_error

MAX_HASHES: Final = 16
"""Files hashed at the same time; PRODUCER_HASHES of them for one producer."""
PRODUCER_HASHES: Final = 4
MAX_REQUESTS: Final = 64
"""Requests to servers at the same time; PRODUCER_REQUESTS of them for one producer."""
PRODUCER_REQUESTS: Final = 16
GRACE_S: Final = 5.0
"""Seconds after the time limit until a thread that does not end is abandoned."""
MAX_THREADS: Final = 64
"""At this number most threads are abandoned, so the disk does not answer, and no further file is opened."""
_BLOCK_BYTES: Final = 1 << 19
_NICE: Final = 10


class SourceIdentifier:
    """`content_of` for many producers concurrently. Belongs to one event loop."""

    def __init__(self, settings: Settings, limit_s: float) -> None:
        """`limit_s`: time limit for one source, in seconds."""
        self._settings = settings
        self._limit_s = limit_s
        self._hashes, self._addresses = asyncio.Semaphore(MAX_HASHES), asyncio.Semaphore(MAX_REQUESTS)
        self._producers: dict[tuple[str, int], asyncio.Semaphore] = {}
        self._pending: defaultdict[tuple[str, int], int] = defaultdict(int)
        self._threads = 0

    async def content_of(self, source: Address, lane: str = "") -> tuple[str, str | None]:
        """The identity of a source's content (see `listing.content_of`), and for a file its stamp before reading.

        Cancellation stops the reading.

        Raises SourceError, and SourceUnavailable when it takes longer than the limit.
        """
        key = lane, PRODUCER_HASHES if source.is_file else PRODUCER_REQUESTS
        self._pending[key] += 1
        try:
            limit = self._producers.setdefault(key, asyncio.Semaphore(key[1]))
            async with limit, self._hashes if source.is_file else self._addresses:
                return await self._local(source) if source.is_file else (await self._remote(source), None)
        finally:
            self._pending[key] -= 1
            if not self._pending[key]:
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
            _lower_priority()
            result: tuple[str, str | None] | None = None
            error: Exception | None = None
            try:
                with open_local(source, self._settings) as file:
                    stamp = str(file.stamp())
                    result = hash_regular_file(file, check), stamp
            except Exception as exc:  # noqa: BLE001  raised where it is awaited
                error = exc
            with suppress(RuntimeError):  # the loop is closed, so no caller waits
                loop.call_soon_threadsafe(_settle, digest, result, error)

        self._threads += 1
        digest.add_done_callback(lambda _: self._forget())
        threading.Thread(target=work, name="stt-identify", daemon=True).start()
        try:
            async with asyncio.timeout(self._limit_s + GRACE_S):
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
        digest.exception()  # retrieved, so that asyncio does not report an error without a waiter


def hash_regular_file(source: SourceFile, check: Callable[[], None]) -> str:
    """The sha256 of a file in hexadecimal, of exactly as many bytes as the file has. `check` is called after each block
    and may raise.

    Raises SourceError for a file with more content than its size says (kernel files, files being written), and
    WorkerShortage.
    """
    size = source.stamp().size_bytes
    try:
        with source.open(buffering=0) as file:
            digest, block, read = hashlib.sha256(), memoryview(bytearray(_BLOCK_BYTES)), 0
            while count := file.readinto(block):  # type: ignore[attr-defined]
                read += count
                if read > size:
                    has = f"has more content than its size of {size} bytes"
                    raise SourceError(f"{source}: {has}: it is being written, or not a regular file; try again later")
                digest.update(block[:count])
                check()
    except OSError as exc:
        raise source_error(exc, str(source)) from exc
    return digest.hexdigest()


def _lower_priority() -> None:
    """Lower the priority of this thread. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


__all__ = ["SourceIdentifier", "hash_regular_file"]
