"""Manages disk space for downloads: a folder of this process below STT_TEMP_DIR, with a limit on its size.

Each process has a lock file next to its folder, and locks it until the process ends. When a process starts, it removes
the folders whose lock files are not locked, because their processes have been killed.
"""

from __future__ import annotations

import asyncio
import atexit
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Final
from weakref import WeakKeyDictionary

from worker.errors import SettingsError, SourceError, WorkerShortage
from worker.settings import Settings
from worker.transient_os_errors import shortage_of

MIN_FREE_BYTES: Final = 64 << 20
"""Downloads leave at least this many bytes of the disk free."""
_OLD_LOCK_S: Final = 3600.0
"""Age after which a lock file without a folder is removed, in seconds."""
_MAX_NAME_CHARACTERS: Final = 100


class DownloadSpace:
    """The disk space that all downloads of one event loop share (STT_DOWNLOADS_MAX_GB)."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self._changed = asyncio.Condition()

    async def reserve(self, count: int, shown: str) -> None:
        """Reserve `count` bytes; wait until other downloads have released enough space. `shown`: the source, for the
        error text. Raises SourceError if `count` is above the limit for all downloads."""
        self._check(count, shown)
        async with self._changed:
            await self._changed.wait_for(lambda: self.used_bytes + count <= self.limit_bytes)
            self.used_bytes += count

    def grow(self, before: int, count: int, shown: str) -> None:
        """Reserve `count` more bytes for a download of unknown length that has reserved `before` bytes.

        This does not wait for space, because two downloads that wait for each other would never end. Raises
        WorkerShortage if other downloads use the space, and SourceError if this download alone exceeds the limit."""
        self._check(before + count, shown)
        if self.used_bytes + count > self.limit_bytes:
            raise WorkerShortage(f"{shown}: other downloads use the whole space (STT_DOWNLOADS_MAX_GB)")
        self.used_bytes += count

    async def release(self, count: int) -> None:
        """Release `count` reserved bytes."""
        async with self._changed:
            self.used_bytes -= count
            # Wake all: the released space may suffice for several downloads, or only for a small one.
            self._changed.notify_all()

    def _check(self, count: int, shown: str) -> None:
        if count > self.limit_bytes:
            limit = f"{self.limit_bytes / 1e9:g} GB"
            raise SourceError(
                f"{shown}: has more than {limit} (STT_DOWNLOADS_MAX_GB); raise the limit, or split the file"
            )


# By event loop, because an asyncio.Condition belongs to one loop. A worker has one; tests have many.
_spaces: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, DownloadSpace]] = WeakKeyDictionary()


def download_space(settings: Settings) -> DownloadSpace:
    """Return the disk space that all downloads of this event loop share."""
    loop = asyncio.get_running_loop()
    if loop not in _spaces:
        _spaces[loop] = DownloadSpace(int(settings.downloads_max_gb * 1e9))
    return _spaces[loop]


@asynccontextmanager
async def temporary_file(name: str, settings: Settings) -> AsyncIterator[Path]:
    """Create an empty folder, and yield a path in it at which the caller may create a file. The name of the file is
    `file_name(name)`.

    The folder is removed at the end of the context. Raises SettingsError, WorkerShortage."""
    folder = Path(await asyncio.to_thread(_new_folder, settings))
    try:
        yield folder / file_name(name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def file_name(name: str) -> str:
    """Return `name` as a valid file name on any disk, with its extension. Unsafe characters are replaced by `_`, and a
    long name is cut."""
    clean = "".join(c if c.isalnum() or c in "._- " else "_" for c in name).lstrip(".")
    stem, _, extension = clean.rpartition(".")
    if not stem or not extension.isalnum() or len(extension) > 10:
        return clean[:_MAX_NAME_CHARACTERS] or "source"
    return f"{stem[:_MAX_NAME_CHARACTERS]}.{extension}"


def check_free_space(count: int, folder: Path, shown: str) -> None:
    """Raise WorkerShortage if the disk of `folder` has no room for `count` bytes and MIN_FREE_BYTES."""
    free = shutil.disk_usage(folder).free
    if count + MIN_FREE_BYTES > free:
        raise WorkerShortage(
            f"{shown}: not enough disk space: it has {count / 1e6:.0f} MB, {folder} has {free / 1e6:.0f} MB free; free"
            " some space, or set STT_TEMP_DIR"
        )


def _new_folder(settings: Settings) -> str:
    folder = _folder_of_process(settings.temp_dir, os.getpid())
    folder.mkdir(mode=0o700, exist_ok=True)  # a cleanup of the temporary folder may have removed it
    return tempfile.mkdtemp(dir=folder)


@lru_cache(maxsize=8)
def _folder_of_process(setting: str, pid: int) -> Path:
    """Create the folder of this process and remove folders of ended processes. A repeated call returns the same folder.

    `setting`: the value of STT_TEMP_DIR. `pid`: the id of this process. It is a part of the cache's key, so that a
    forked child does not get the folder of its parent. Raises SettingsError, WorkerShortage."""
    base = Path(setting or Path(tempfile.gettempdir()) / f"stt-batch-{os.getuid()}")
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        # In a shared /tmp, another user may have created the folder first, and could then read or replace downloads.
        if base.stat().st_uid != os.getuid():
            raise SettingsError(f"{base}: belongs to another user; set STT_TEMP_DIR to a folder for downloads")
        remove_abandoned(base)
        folder, lock = _locked(base, pid)
        folder.mkdir(mode=0o700)
    except OSError as exc:
        if (shortage := shortage_of(exc)) is not None:
            raise WorkerShortage(f"{base}: cannot be used for downloads now: {shortage}") from exc
        raise SettingsError(f"{base}: cannot be used for downloads: {exc.strerror}; set STT_TEMP_DIR") from exc
    atexit.register(_clean_up, folder, lock, pid)
    return folder


def _locked(base: Path, pid: int) -> tuple[Path, IO[bytes]]:
    """Choose a folder for this process and lock its lock file. Returns the path of the folder, and the lock file.

    If another process locks the file first, another name is tried."""
    while True:
        folder = base / f"worker-{pid}-{secrets.token_hex(4)}"
        lock = folder.with_suffix(".lock").open("xb")
        # After the file is created and before this process locks it, another process may lock and remove the file
        # (`remove_abandoned`).
        if _lock(lock):
            return folder, lock
        lock.close()


def _lock(file: IO[bytes]) -> bool:
    """Lock a file until it is closed. Returns False if another process has locked it."""
    try:
        # The kernel releases this lock when the process ends, even by SIGKILL. A file with a process id would need a
        # check whether the id belongs to a new process.
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def remove_abandoned(base: Path) -> None:
    """Remove the folders and lock files of ended processes from `base`."""
    for lock_path in base.glob("worker-*.lock"):
        folder = lock_path.with_suffix("")
        with suppress(OSError):  # another process may remove the same files at the same time
            if not folder.exists() and time.time() - lock_path.stat().st_mtime < _OLD_LOCK_S:
                continue  # the process of this lock file may be about to create its folder
            with lock_path.open("rb") as lock:
                if _lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
                    lock_path.unlink()


def _clean_up(folder: Path, lock: IO[bytes], pid: int) -> None:
    if os.getpid() == pid:  # a forked child must not remove the folder of its parent
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_suffix(".lock").unlink(missing_ok=True)
        lock.close()
