"""Refuses sockets and processes while a unit test runs. The hook sees those of Python itself, but not
those of native libraries (the object store client)."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PROCESS_EVENTS = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "pty.spawn"}
)
_NETWORK_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname"}
)


class UnitTestIO(RuntimeError):
    """A unit test opened a network socket or started a process."""


class _Watch:
    def __init__(self) -> None:
        self.violations: list[str] = []
        # Servers of session fixtures run in threads of this process.
        self.older_threads = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}


_current: _Watch | None = None


def _violation(event: str, args: tuple[Any, ...]) -> str | None:
    if event in _PROCESS_EVENTS:
        return f"starts a process ({event} {args[:2]})"
    if event not in _NETWORK_EVENTS:
        return None
    address = args[1] if len(args) > 1 and event in {"socket.connect", "socket.bind", "socket.sendto"} else args[0]
    if event in {"socket.connect", "socket.bind"} and isinstance(address, str | bytes):
        return None  # a Unix socket is a file
    if event == "socket.sendmsg" and (len(args) < 2 or args[1] is None):
        return None  # on a socket pair
    return f"uses the network ({event} {address!r})"


def _hook(event: str, args: tuple[Any, ...]) -> None:
    watch = _current
    if watch is None or (event not in _PROCESS_EVENTS and event not in _NETWORK_EVENTS):
        return
    if threading.get_ident() in watch.older_threads:
        return
    if violation := _violation(event, args):
        watch.violations.append(violation)
        raise UnitTestIO(violation)


_installed = False


@contextmanager
def no_io() -> Iterator[list[str]]:
    """Network sockets and processes raise UnitTestIO within. Yields the list of those that were tried, since the code
    under test may catch the error. May be nested; the innermost one counts."""
    global _current, _installed  # noqa: PLW0603  an audit hook belongs to the process and cannot be removed
    if not _installed:
        sys.addaudithook(_hook)
        _installed = True
    outer, watch = _current, _Watch()
    _current = watch
    try:
        yield watch.violations
    finally:
        _current = outer
