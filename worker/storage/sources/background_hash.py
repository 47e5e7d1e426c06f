"""Computes the sha256 of a source in the background while the source is streamed, because it is needed only at the end.

Each process hashes one file at a time, in one thread of low priority. If a thousand sessions began together and each
had its own thread, every thread would take the interpreter lock from the event loop after each block. Audio frames
would then be sent late.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Final

from worker.audio.opened_file import SourceFile
from worker.audio.source import sha256_of

_NICE: Final = 10
"""Nice value of the thread: the higher, the lower its priority."""


def lower_priority() -> None:
    """Lower the priority of the calling thread. Does nothing except on Linux, because only there each thread has its
    own priority."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="stt-hash", initializer=lower_priority)


_thread = _new_thread()


@asynccontextmanager
async def background_sha256(source: SourceFile, known: str | None = None) -> AsyncIterator[asyncio.Future[str]]:
    """Yield a future of the sha256 of `source` in hexadecimal. If `known` is given, it is the result of the future.
    Otherwise a thread computes the sha256.

    Awaiting the future raises SourceError or WorkerShortage. At the end of the context, a computation that has not
    begun is cancelled. A running computation continues in its thread, and its result is ignored."""
    loop = asyncio.get_running_loop()
    if known is not None:
        digest = loop.create_future()
        digest.set_result(known)
    else:
        # asyncio.to_thread is not used, because its pool has several threads.
        digest = loop.run_in_executor(_thread, sha256_of, source)
    try:
        yield digest
    finally:
        if not digest.done():
            digest.cancel()
        elif not digest.cancelled():
            digest.exception()  # marks it as retrieved: asyncio would report an exception that was never awaited


def _after_fork() -> None:
    """Create a new thread pool in a forked child process, because threads do not survive a fork."""
    global _thread  # noqa: PLW0603
    _thread = _new_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
