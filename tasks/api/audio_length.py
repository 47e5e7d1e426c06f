"""Reads the duration of an upload from its header."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from worker.audio.decoding.decode import open_source
from worker.audio.decoding.ffmpeg_container import is_installed
from worker.errors import DamagedSource, SttError, UnsupportedSource
from worker.settings import Settings
from worker.storage.address import Address
from worker.storage.sources.local_file import open_local

# Threads of their own: a slow decoder must not delay the writing of uploads.
_THREADS: Final = ThreadPoolExecutor(2, thread_name_prefix="stt-length")


async def duration_of(address: Address, settings: Settings, *, strict: bool = False) -> float | None:
    """Return the seconds of audio that the header of a file declares.

    Returns None if it declares none, if this installation cannot open the format (a worker may), and for objects in a
    store. With `strict`, raises SourceError for a file that no worker can open."""
    if not address.is_file:
        return None
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _read, address, settings, strict)


def _read(address: Address, settings: Settings, strict: bool) -> float | None:
    try:
        with open_local(address, settings) as file, open_source(file) as audio:
            return audio.info.duration_s
    except (DamagedSource, UnsupportedSource):
        if strict and is_installed():
            raise
        return None
    except SttError:
        return None


__all__ = ["duration_of"]
