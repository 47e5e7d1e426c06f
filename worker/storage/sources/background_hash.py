"""Computes the sha256 of a source in the background of its session: it is needed only at the end.

One file at a time in a process, at low priority. A thousand sessions that begin together would otherwise hash in many
threads, each of which takes the interpreter lock from the event loop after every block, and frames would be sent late.
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


def _lower_priority() -> None:
    """Lower the priority of this thread. Only Linux has priorities of threads."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)


def _new_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="stt-hash", initializer=_lower_priority)


_thread = _new_thread()


@asynccontextmanager
async def background_sha256(source: SourceFile, known: str | None = None) -> AsyncIterator[asyncio.Future[str]]:
    """Yields a future of the sha256 in hexadecimal: `known`, or computed in a thread. Awaiting it raises SourceError or
    WorkerShortage. At exit, background_sha256 that has not begun is cancelled."""
    loop = asyncio.get_running_loop()
    if known is not None:
        digest = loop.create_future()
        digest.set_result(known)
    else:
        digest = loop.run_in_executor(_thread, sha256_of, source)
    try:
        yield digest
    finally:
        if not digest.done():
            digest.cancel()
        elif not digest.cancelled():
            digest.exception()  # retrieved, so that asyncio does not report an exception that was never awaited


def _after_fork() -> None:
    """Create a new thread in a forked child: threads do not survive a fork."""
    global _thread  # noqa: PLW0603
    _thread = _new_thread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
