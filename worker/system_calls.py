"""Calls system functions that the standard library lacks: openat2(2), and fstatfs(2) for the type of a file system."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import lru_cache
from typing import Any, Final

_OPENAT2: Final = 437
"""Number of the system call on all architectures except alpha."""
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_BENEATH: Final = 0x08
_UNSUPPORTED: Final = (errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.E2BIG)
"""Errors of a system without openat2: an old kernel, or for EPERM the seccomp filter of an old container runtime."""

_PSEUDO: Final = {
    0x9FA0: "/proc",
    0x62656572: "/sys",
    0x64626720: "debugfs",
    0x74726163: "tracefs",
    0x27E0EB: "a cgroup file system",
    0x63677270: "a cgroup file system",
    0x73636673: "securityfs",
    0x62656570: "configfs",
    0xCAFE4A11: "bpf",
    0x6165676C: "pstore",
    0xDE5E81E4: "efivarfs",
    0x42494E4D: "binfmt_misc",
    0xF97CFF8C: "selinuxfs",
    0x65735543: "fusectl",
    0x1CD1: "devpts",
    0x19800202: "mqueue",
    0x6E736673: "nsfs",
}
"""Virtual file systems of the kernel, by magic number (`linux/magic.h`). Their files are never recordings."""


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@lru_cache(maxsize=1)
def _libc() -> Any:
    if sys.platform != "linux":
        return None
    try:
        return ctypes.CDLL(None, use_errno=True)
    except OSError:  # a statically linked interpreter cannot load libraries
        return None


def openat2(path: str, flags: int, resolve: int, dir_fd: int) -> int | None:
    """Open `path` relative to the directory `dir_fd`, restricted by `resolve`. Returns the descriptor, or None if the
    system has no openat2.

    Raises OSError. Its `errno` is EXDEV or ELOOP for a path that `resolve` forbids.
    """
    libc = _libc()
    if libc is None or not _has_openat2():
        return None
    return _call(libc, os.fsencode(path), flags, resolve, dir_fd)


@lru_cache(maxsize=1)
def _has_openat2() -> bool:
    try:
        os.close(_call(_libc(), b"/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, RESOLVE_NO_MAGICLINKS, -100))
    except OSError as exc:
        return exc.errno not in _UNSUPPORTED
    return True


def _call(libc: Any, path: bytes, flags: int, resolve: int, dir_fd: int) -> int:
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    while True:
        found = libc.syscall(_OPENAT2, ctypes.c_int(dir_fd), path, ctypes.byref(how), ctypes.sizeof(how))
        if found >= 0:
            return int(found)
        number = ctypes.get_errno()
        if number not in (errno.EINTR, errno.EAGAIN):  # EAGAIN: a concurrent rename; repeat the call
            raise OSError(number, os.strerror(number), os.fsdecode(path))


def pseudo_file_system(fd: int) -> str | None:
    """Return the name of the virtual file system of an open file, such as `/proc`, or None for a real or unknown file
    system."""
    libc = _libc()
    if libc is None:
        return None
    buffer = ctypes.create_string_buffer(512)
    if libc.fstatfs(ctypes.c_int(fd), buffer) != 0:
        return None
    kind = int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder)
    return _PSEUDO.get(kind & 0xFFFFFFFF)


__all__ = ["RESOLVE_BENEATH", "RESOLVE_NO_MAGICLINKS", "openat2", "pseudo_file_system"]
