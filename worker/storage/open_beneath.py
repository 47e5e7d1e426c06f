"""Opens files and folders beneath allowed folders, relative to a descriptor of the folder.

Checking and opening are one step, so no link can change between them: openat2(2) with RESOLVE_BENEATH if the kernel has
it, else a walk, one name at a time, in which the kernel never follows a link. openat2 refuses every absolute link, even
one that stays inside, so the walk decides all paths that openat2 refuses.

A link works if its whole path is inside the allowed folders; it may lead from one of them to another. The links of
/proc (such as /proc/self/fd/3) are never followed. The operator names the allowed folders, so these may be links.
"""

from __future__ import annotations

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

from worker.audio.opened_file import HANDLE_FLAGS
from worker.system_calls import RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, openat2, pseudo_file_system

_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_LINKS: Final = 40
"""The limit of Linux."""
_ANYWHERE: Final = ("/",)


class OutsideAllowedFolders(Exception):
    """The path leaves the allowed folders, or uses a link of /proc."""


def open_file(path: str, roots: Sequence[str]) -> int:
    """Open a file and return a descriptor with HANDLE_FLAGS. `roots`: folders that the path must not leave; if empty,
    only links of /proc are refused.

    Raises OutsideAllowedFolders, OSError, ValueError for a NUL in the name."""
    return _PathWalk(path, roots or _ANYWHERE, make=False).open(HANDLE_FLAGS)


def open_folder(path: str, roots: Sequence[str]) -> int:
    """A descriptor of a folder for new files; a missing folder is created. Raises OutsideAllowedFolders, OSError."""
    if not roots:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
        return os.open(path, _FOLDER)
    return _PathWalk(path, roots, make=True).open(_FOLDER)


class _PathWalk:
    """Walks to one path, name by name. Positions are descriptors of folders, so each name is resolved once."""

    def __init__(self, path: str, roots: Sequence[str], *, make: bool) -> None:
        named = tuple(dict.fromkeys(os.path.abspath(root) for root in roots))  # noqa: PTH100
        self._roots = tuple(dict.fromkeys((*named, *map(os.path.realpath, named))))
        self._path = os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118
        self._make = make
        self._links = 0
        self._waiting: deque[str] = deque()
        self._stack: list[int] = []

    def open(self, flags: int) -> int:
        root, rest = self._anchor(self._path)
        if (found := _open_at_once(root, "/".join(rest), flags)) is not None:
            return found
        with ExitStack() as closing:
            closing.callback(self._close)
            self._enter(root, rest)
            return self._walk(flags)

    def _walk(self, flags: int) -> int:
        while self._waiting:
            name = self._waiting.popleft()
            here = self._stack[-1]
            if name == "..":
                self._go_up()
            elif (target := _link(name, here)) is not None:
                self._follow(target)
            elif (found := self._step(name, here, flags)) is not None:
                return found
        return os.open(".", flags, dir_fd=self._stack[-1])

    def _step(self, name: str, here: int, flags: int) -> int | None:
        """Open one name that was not a link a moment ago. Returns the descriptor if the name is the last one."""
        last = not self._waiting
        if self._make:
            try:
                os.mkdir(name, dir_fd=here)
            except FileExistsError:
                pass
            except OSError as exc:
                if exc.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):  # the folder may exist all the same
                    raise
        try:
            found = os.open(name, (flags if last else _FOLDER) | os.O_NOFOLLOW, dir_fd=here)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENOTDIR) and _link(name, here) is not None:
                self._again(name)
                return None
            raise
        if stat.S_ISLNK(os.fstat(found).st_mode):  # with O_PATH the link itself is opened
            os.close(found)
            self._again(name)
            return None
        if last:
            return found
        self._stack.append(found)
        return None

    def _again(self, name: str) -> None:
        """Retry a name that became a link between two system calls."""
        self._count()
        self._waiting.appendleft(name)

    def _follow(self, target: str) -> None:
        self._count()
        if pseudo_file_system(self._stack[-1]) == "/proc":
            raise OutsideAllowedFolders
        if target.startswith("/"):
            self._jump(target)
        else:
            self._waiting.extendleft(reversed(_names(target)))

    def _go_up(self) -> None:
        if len(self._stack) > 1:
            os.close(self._stack.pop())
        elif self._root != "/":
            self._count()
            self._jump(os.path.dirname(self._root))  # noqa: PTH120

    def _jump(self, target: str) -> None:
        """Continue from an absolute path, which must begin with an allowed folder."""
        root, rest = self._anchor("/".join((target, *self._waiting)))
        self._close()
        self._enter(root, rest)

    def _anchor(self, path: str) -> tuple[str, list[str]]:
        """The allowed folder that a path begins with, and the names that follow. Raises OutsideAllowedFolders."""
        names = _names(path)
        covering = (root for root in self._roots if names[: len(_names(root))] == _names(root))
        root = max(covering, key=len, default=None)
        if root is None:
            raise OutsideAllowedFolders
        return root, names[len(_names(root)) :]

    def _enter(self, root: str, rest: Sequence[str]) -> None:
        if not rest and not self._make and not os.path.isdir(root):  # noqa: PTH112  the allow-list names a file
            root, rest = os.path.split(root)[0], [os.path.basename(root)]  # noqa: PTH119
        elif self._make:
            os.makedirs(root, exist_ok=True)  # noqa: PTH103
        self._root = root
        self._stack = [os.open(root, _FOLDER)]
        self._waiting = deque(rest)

    def _count(self) -> None:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)

    def _close(self) -> None:
        while self._stack:
            os.close(self._stack.pop())


def _open_at_once(root: str, rest: str, flags: int) -> int | None:
    """Open the whole path in one system call. Returns None if that is impossible or refused for a reason that the walk
    can check."""
    try:
        folder = os.open(root, _FOLDER)
    except OSError:
        return None
    try:
        return openat2(rest or ".", flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, folder)
    except OSError as exc:
        if exc.errno in (errno.EXDEV, errno.ELOOP, errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    finally:
        os.close(folder)


def _link(name: str, folder: int) -> str | None:
    """The target of a link, or None if the name is not a link or does not exist."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


__all__ = ["OutsideAllowedFolders", "open_file", "open_folder"]
