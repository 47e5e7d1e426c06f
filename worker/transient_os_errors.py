"""Recognizes errors of the operating system that are temporary failures of this machine, not failures of the job.

Such a "shortage" is a lack of descriptors, memory, threads or temporary disk space, or a failing disk or network mount.
Libraries wrap these errors in their own, so the whole chain of causes is examined. A job that fails with a shortage is
retried later, and the attempt is not counted.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final

from worker.errors import (
    EndpointError,
    OutputError,
    SourceError,
    SourceNotFound,
    SourceUnavailable,
    SttError,
    WorkerShortage,
)

_DESCRIPTORS: Final = (
    "this worker has too many files open; raise its limit (`ulimit -n`, LimitNOFILE=, `nofile`), or lower"
    " STT_WORKER_SESSIONS"
)
_MEMORY: Final = "this worker is out of memory; give it more, or lower STT_WORKER_SESSIONS"
_THREADS: Final = (
    "this worker cannot start another thread; raise the limit (`ulimit -u`, TasksMax=, pids), or lower"
    " STT_WORKER_SESSIONS"
)
_RESOURCES: Final = {
    errno.EMFILE: _DESCRIPTORS,
    errno.ENFILE: "this machine has too many files open; raise fs.file-max",
    errno.ENOMEM: _MEMORY,
    errno.ENOBUFS: "this machine has no buffer space left for another connection; lower STT_WORKER_SESSIONS",
}
"""Errors that are a shortage of this machine in every operation, with their messages."""
_SPACE: Final = {
    errno.ENOSPC: "the temporary disk is full; free some space, or set STT_TEMP_DIR and TMPDIR to a disk that has some",
    errno.EDQUOT: "the quota of the temporary disk is used up; free some space, or set STT_TEMP_DIR and TMPDIR",
}
"""Errors that are a shortage in operations on temporary files, with their messages."""
_MOUNTS: Final = {
    errno.EIO: "the disk reports an input/output error; check the disk or the mount",
    errno.ESTALE: "the network mount is stale; mount it again",
    errno.EAGAIN: "the system is short of a resource for the moment; check its limits",
    errno.ETIMEDOUT: "the network mount does not answer in time; check the mount",
    errno.EHOSTDOWN: "the server of the network mount is down; check the mount",
    errno.EHOSTUNREACH: "the server of the network mount cannot be reached; check the mount",
    errno.ENETDOWN: "the network of the mount is down; check the mount",
    errno.ENETUNREACH: "the network of the mount cannot be reached; check the mount",
    errno.ENOTCONN: "the file system is not connected; mount it again",
    errno.ENODEV: "the device of the file system is gone; mount it again",
    errno.ENXIO: "the device of the file system is gone; mount it again",
    errno.ENOLCK: "the file system has no locks left; check the mount",
}
"""Errors that are a shortage in operations on files, with their messages. In a network operation, some of them describe
the remote side."""
TRANSIENT_WRITE_ERRORS: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EIO,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
)
"""Errors after which writing a transcript is retried: a full disk, an unavailable network disk, a lack of
descriptors."""
_REMOTE_IO: Final = getattr(errno, "EREMOTEIO", None)
_ERRNO_OF_TEXT: Final = {
    os.strerror(number).lower(): number for number in (*_RESOURCES, *_SPACE, errno.EIO, errno.ESTALE)
}
"""Error numbers by their text, for libraries that report only the text."""
_ALLOCATION_FAILURES: Final = ("malloc", "out of memory", "allocation failed", "bad_alloc", "unable to allocate")
_MAX_CHAIN: Final = 20
"""Maximum number of exceptions of a chain that are examined."""


def shortage_of(exc: BaseException) -> WorkerShortage | None:
    """Return the shortage that caused the failure `exc`, or None if the failure concerns the job itself."""
    if isinstance(exc, WorkerShortage):
        return exc
    files = not isinstance(exc, SttError)
    # Of the errors of this program, only those about a remote peer or an output disk can be caused by a shortage, and
    # only by a lack of resources of this machine. Errors about the input were classified where they occurred, because a
    # decoder reports damage as an input/output error, too.
    if not files and not isinstance(exc, (EndpointError, OutputError, SourceUnavailable)):
        return None
    for cause in _chain(exc):
        if isinstance(cause, WorkerShortage):
            return cause
        reason = _reason(cause, files=files)
        if reason is not None:
            return WorkerShortage(reason)
    return None


def source_error(exc: OSError, shown: str) -> SttError:
    """Return the error to raise for a source that could not be opened or read. `shown`: name of the source in the
    message."""
    if isinstance(exc, (FileNotFoundError, NotADirectoryError)):
        return SourceNotFound(f"{shown}: no such file")
    reason = _reason(exc, files=True)
    if reason is not None:
        return WorkerShortage(f"{shown}: cannot be read now: {reason}")
    return SourceError(f"{shown}: cannot be read: {exc.strerror or exc}")


def raise_shortage(exc: BaseException, shown: str) -> None:
    """Raise WorkerShortage if a shortage caused `exc`, otherwise do nothing. `shown`: name of the source that was read
    when `exc` occurred."""
    reason = next((text for cause in _chain(exc) if (text := _reason(cause, files=True)) is not None), None)
    if reason is not None:
        raise WorkerShortage(f"{shown}: cannot be read now: {reason}") from exc


def _reason(exc: BaseException, *, files: bool) -> str | None:
    if isinstance(exc, MemoryError):
        return _MEMORY
    if isinstance(exc, OSError) and exc.errno is not None:
        return _of_errno(exc.errno, files=files)
    if isinstance(exc, SttError):
        return None  # the text may quote anything, so it is not searched; the caller examines the causes next
    text = str(exc).lower()
    if isinstance(exc, RuntimeError) and "start new thread" in text:
        return _THREADS
    if any(word in text for word in _ALLOCATION_FAILURES) and isinstance(exc, RuntimeError):
        return _MEMORY
    number = next((number for words, number in _ERRNO_OF_TEXT.items() if words in text), None)
    return None if number is None else _of_errno(number, files=files)


def _of_errno(number: int, *, files: bool) -> str | None:
    if number in _RESOURCES or not files:
        return _RESOURCES.get(number)
    if number == _REMOTE_IO:
        return _MOUNTS[errno.EIO]
    return _SPACE.get(number) or _MOUNTS.get(number)


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield the exception, its causes and contexts (also those hidden by `from None`), and the members of exception
    groups. Yields at most _MAX_CHAIN exceptions."""
    waiting, seen = [exc], set[int]()
    while waiting and len(seen) < _MAX_CHAIN:
        here = waiting.pop(0)
        if id(here) in seen:
            continue
        seen.add(id(here))
        yield here
        members = here.exceptions if isinstance(here, BaseExceptionGroup) else ()
        os_error = getattr(here, "os_error", None)  # attribute of aiohttp's connection errors
        following = (here.__cause__, here.__context__, os_error, *members)
        waiting += [item for item in following if isinstance(item, BaseException)]


__all__ = ["raise_shortage", "shortage_of", "source_error"]
