"""Opens a source file once. All readers use this open file, and nothing opens the path again.

A file that is renamed, deleted or replaced while it is streamed is therefore read to its end, and all readers of an
attempt see the same file. A reader reopens the descriptor through /proc/self/fd to get its own position. Systems
without /proc use pread(2).
"""

from __future__ import annotations

import errno
import io
import os
import stat
import threading
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, Self, cast

from worker.errors import SourceError, SourceRefused
from worker.system_calls import pseudo_file_system
from worker.transient_os_errors import source_error

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_O_PATH: Final = getattr(os, "O_PATH", 0) if Path("/proc/self/fd").is_dir() else 0
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
_NO_REOPENING: Final = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENOTDIR)
"""Errors after which a descriptor is read with pread(2) instead of being reopened: the system has no /proc, or
permissions changed after the file was opened."""
HANDLE_FLAGS: Final = _O_PATH | os.O_CLOEXEC if _O_PATH else _READ
"""Flags to open a file for inspection. With O_PATH, opening a pipe or device has no side effect."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """File attributes that change when a file is modified or replaced.

    Programs can set the modification time, but not the change time (ctime). So the change time reveals a change even if
    all other attributes are equal.
    """

    size_bytes: int
    mtime_ns: int
    inode: int
    ctime_ns: int = 0
    device: int = 0

    @classmethod
    def of(cls, facts: os.stat_result) -> Self:
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ino, facts.st_ctime_ns, facts.st_dev)

    @classmethod
    def at(cls, path: Path) -> Self:
        """Read the attributes of the file at `path`. Raises OSError."""
        return cls.of(path.stat())

    def __str__(self) -> str:
        return f"{self.size_bytes} {self.mtime_ns} {self.inode} {self.ctime_ns} {self.device}"


class SourceFile:
    """An open regular file. Close it, or use it as a context manager. `str()` gives its path or address for messages.

    `open`, `stat`, `name`, `stem` and `suffix` work like those of `Path`. The object is not a path: libraries that
    would open a path themselves receive the result of `open` instead.
    """

    def __init__(self, fd: int, shown: str, name: str | None = None) -> None:
        """`fd`: a descriptor for reading, which this object closes. `shown`: path or address for messages. `name`: the
        file's name, if it is not the last part of `shown`."""
        self._fd = fd
        self._shown = shown
        self._path = PurePath(name if name is not None else shown)
        self._closing = threading.Lock()

    @classmethod
    def at(cls, path: Path, shown: str | None = None, name: str | None = None) -> Self:
        """Open a path. The access policy is not checked here. Raises SourceNotFound, SourceRefused, SourceError,
        WorkerShortage."""
        shown = str(path) if shown is None else shown
        try:
            handle = os.open(path, HANDLE_FLAGS)
        except OSError as exc:
            raise source_error(exc, shown) from exc
        except ValueError as exc:  # a NUL in the name
            raise SourceError(f"{shown!r}: cannot be the name of a file: {exc}") from exc
        return cls(readable(handle, shown), shown, name)

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def stem(self) -> str:
        return self._path.stem

    @property
    def suffix(self) -> str:
        return self._path.suffix

    def __str__(self) -> str:
        return self._shown

    def open(self, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        """Open a new reader with its own position, for one thread at a time. Raises WorkerShortage, SourceError."""
        if mode != "rb":
            raise ValueError(f"{self}: a source is only read, not opened with {mode!r}")
        try:
            # A duplicate of a descriptor shares its position, but readers need their own; `/proc` provides one.
            raw = _reopened(self._fd) or _Pread(os.dup(self._fd))
        except OSError as exc:
            raise source_error(exc, self._shown) from exc
        return cast(BinaryIO, raw if buffering == 0 else io.BufferedReader(raw, max(buffering, 1 << 16)))

    def stat(self) -> os.stat_result:
        """Return the status of the open file, even if its path now names another file. Raises OSError."""
        return os.fstat(self._fd)

    def path_now(self) -> str:
        """Return the current path of the open file, or an empty text if the system does not provide it."""
        try:
            return str(Path(f"/proc/self/fd/{self._fd}").readlink())
        except OSError:
            return ""

    def stamp(self) -> FileStamp:
        """Return the current attributes of the open file. Raises WorkerShortage, SourceError."""
        try:
            return FileStamp.of(self.stat())
        except OSError as exc:
            raise source_error(exc, self._shown) from exc

    def close(self) -> None:
        # `close` may run in two threads, and a closed number may belong to another file already.
        with self._closing:
            fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        """Close the descriptor when nothing refers to this object any more. Audio readers refer to it for as long as
        they need it."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class _Pread(io.RawIOBase):
    """A reader with its own position, for descriptors that cannot be reopened."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        data = os.pread(self._fd, len(view), self._at)
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence)
        self._at = max(0, (os.fstat(self._fd).st_size if base is None else base) + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def _reopened(fd: int) -> io.FileIO | None:
    """Open the file of a descriptor again, with a separate position. Returns None if the system does not allow it.

    Raises OSError for lack of resources."""
    try:
        return io.FileIO(os.open(f"/proc/self/fd/{fd}", _READ), "rb")
    except OSError as exc:
        if exc.errno in _NO_REOPENING:
            return None
        raise


def as_source_file(source: SourceFile | Path) -> SourceFile:
    """Return an open source unchanged, or open a path. Raises the same errors as `SourceFile.at`."""
    return source if isinstance(source, SourceFile) else SourceFile.at(Path(source))


def readable(handle: int, shown: str) -> int:
    """Open a file for reading whose descriptor `handle` was opened with HANDLE_FLAGS. Returns the new descriptor, and
    closes `handle`.

    Raises SourceError if the file is not a regular file, SourceRefused for a file of the kernel (such as one in /proc),
    or WorkerShortage."""
    kept = -1
    try:
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            # Checked on the descriptor and not on the path, which may be replaced between check and use.
            kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
            raise SourceError(f"{shown}: is {kind}; give an audio file")
        if (system := pseudo_file_system(handle)) is not None:
            raise SourceRefused(f"{shown}: is a file of the kernel ({system}), not a recording; give an audio file")
        kept = _for_reading(handle)
    except OSError as exc:
        raise source_error(exc, shown) from exc
    finally:
        if kept != handle:
            os.close(handle)
    return kept


def _for_reading(handle: int) -> int:
    if not _O_PATH:
        return handle
    # Opened without reading (O_PATH) so far, since opening a FIFO or a device for reading may block or have effects.
    return os.open(f"/proc/self/fd/{handle}", _READ)


__all__ = ["HANDLE_FLAGS", "FileStamp", "SourceFile", "as_source_file", "readable"]
