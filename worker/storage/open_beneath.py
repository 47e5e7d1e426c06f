"""Opens files and folders only if they are inside the allowed folders, even if their path contains symbolic links.

A path is checked while it is opened, so no link can be changed between the check and the opening. Two methods are used.
If the kernel has openat2(2), it opens the path in one call with RESOLVE_BENEATH. Without openat2, or if openat2 refuses
the path, `_PathWalk` opens one name after the other. It reads and checks each link itself, so the kernel never follows
a link. This second method is needed because openat2 refuses every absolute link, even a link whose target is inside the
folder.

A link is followed if its whole target path is inside the allowed folders. It may lead from one allowed folder to
another. The links of /proc (such as /proc/self/fd/3) are never followed. An allowed folder itself may be a link,
because the operator chose it.
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

# O_PATH: the worker needs no permission to list the folder, only to search it.
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_MAX_LINKS: Final = 40
"""Maximum number of links in one path, the same as in Linux."""
_ANYWHERE: Final = ("/",)


class OutsideAllowedFolders(Exception):
    """Raised for a path that leaves the allowed folders, or uses a magic link in /proc, such as /proc/self/fd/3."""


def open_file(path: str, roots: Sequence[str]) -> int:
    """Open a file with HANDLE_FLAGS and return its descriptor.

    `roots`: the allowed folders. If there are none, every path is allowed, except through a magic link in /proc
    (such as /proc/self/fd/3). Raises OutsideAllowedFolders or OSError, or ValueError if the name contains a NUL."""
    return _PathWalk(path, roots or _ANYWHERE, make=False).open(HANDLE_FLAGS)


def open_folder(path: str, roots: Sequence[str]) -> int:
    """Open a folder in which files will be created, and return its descriptor. Missing folders are created.

    `roots`: the allowed folders; if empty, every path is allowed. Raises OutsideAllowedFolders, OSError."""
    if not roots:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
        return os.open(path, _FOLDER)
    return _PathWalk(path, roots, make=True).open(_FOLDER)


class _PathWalk:
    """Opens one path, name by name. Each name is opened relative to the descriptor of the folder before it, so it is
    resolved only once."""

    def __init__(self, path: str, roots: Sequence[str], *, make: bool) -> None:
        """`make`: whether missing folders are created."""
        named = tuple(dict.fromkeys(os.path.abspath(root) for root in roots))  # noqa: PTH100
        # The path may name an allowed folder itself, or the real path of an allowed folder that is a link.
        self._roots = tuple(dict.fromkeys((*named, *map(os.path.realpath, named))))
        # Not normalized: if `a` is a link, `a/../b` is not `b`.
        self._path = path if path.startswith("/") else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118
        self._make = make
        self._links = 0
        self._waiting: deque[str] = deque()
        """The names that remain to be opened."""
        self._stack: list[int] = []
        """Descriptors from the allowed folder down to the current one."""

    def open(self, flags: int) -> int:
        """Open the path, in one system call if possible. Returns the descriptor."""
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
        """Open `name` in the folder `here`. `name` was not a link when it was checked, but may have become one.

        Returns the descriptor if `name` is the last name of the path, else None."""
        last = not self._waiting
        if self._make:
            try:
                os.mkdir(name, dir_fd=here)
            except FileExistsError:
                pass
            except OSError as exc:
                # These errors can occur although the folder exists. If the folder does not exist, opening it fails
                # later.
                if exc.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                    raise
        try:
            # O_NOFOLLOW: a name that has become a link since the check fails here, or is opened as a link (with
            # O_PATH).
            found = os.open(name, (flags if last else _FOLDER) | os.O_NOFOLLOW, dir_fd=here)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.ENOTDIR) and _link(name, here) is not None:
                self._again(name)
                return None
            raise
        if stat.S_ISLNK(os.fstat(found).st_mode):  # with O_PATH and O_NOFOLLOW, open(2) opens the link itself
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
        """Continue with the target of a link in the current folder."""
        self._count()
        # A link in /proc can stand for an open file of any process, which has no path to check.
        if pseudo_file_system(self._stack[-1]) == "/proc":
            raise OutsideAllowedFolders
        if target.startswith("/"):
            self._jump(target)
        else:
            self._waiting.extendleft(reversed(_names(target)))

    def _go_up(self) -> None:
        """Continue in the parent folder (`..`). From an allowed folder itself, this is only possible if its parent is
        inside another allowed folder."""
        if len(self._stack) > 1:
            os.close(self._stack.pop())
        elif self._root != "/":
            self._count()
            self._jump(os.path.dirname(self._root))  # noqa: PTH120

    def _jump(self, target: str) -> None:
        """Continue at the absolute path `target`, which must be inside an allowed folder."""
        root, rest = self._anchor("/".join((target, *self._waiting)))
        self._close()
        self._enter(root, rest)

    def _anchor(self, path: str) -> tuple[str, list[str]]:
        """Return the innermost allowed folder that contains `path`, and the names below it.

        Raises OutsideAllowedFolders."""
        names = _names(path)
        covering = (root for root in self._roots if names[: len(_names(root))] == _names(root))
        root = max(covering, key=len, default=None)
        if root is None:
            raise OutsideAllowedFolders
        return root, names[len(_names(root)) :]

    def _enter(self, root: str, rest: Sequence[str]) -> None:
        """Start the walk in the allowed folder `root`. `rest`: the names to open from there."""
        if not rest and not self._make and not os.path.isdir(root):  # noqa: PTH112  the allow-list names a file
            root, rest = os.path.split(root)[0], [os.path.basename(root)]  # noqa: PTH119
        elif self._make:
            os.makedirs(root, exist_ok=True)  # noqa: PTH103
        self._root = root
        self._stack = [os.open(root, _FOLDER)]
        self._waiting = deque(rest)

    def _count(self) -> None:
        """Count a followed link. Raises OSError (ELOOP) if there were too many links, because links may form a
        cycle."""
        self._links += 1
        if self._links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), self._path)

    def _close(self) -> None:
        while self._stack:
            os.close(self._stack.pop())


def _open_at_once(root: str, rest: str, flags: int) -> int | None:
    """Open the path `rest` below the folder `root` in one system call.

    Returns None if the system has no openat2, or if openat2 fails with an error that `_PathWalk` may avoid or
    explain."""
    try:
        folder = os.open(root, _FOLDER)
    except OSError:
        return None
    try:
        return openat2(rest or ".", flags, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS, folder)
    except OSError as exc:
        # EXDEV: the path leaves the folder. ELOOP: a link that openat2 does not follow. The others: the walk creates
        # the missing folder, or raises the same error.
        if exc.errno in (errno.EXDEV, errno.ELOOP, errno.ENOENT, errno.ENOTDIR):
            return None
        raise
    finally:
        os.close(folder)


def _link(name: str, folder: int) -> str | None:
    """Return the target of a link, or None if the name is not a link or does not exist."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as exc:
        if exc.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            return None
        raise


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


__all__ = ["OutsideAllowedFolders", "open_file", "open_folder"]
