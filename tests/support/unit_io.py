"""Prevents unit tests from using the network and from starting processes.

An audit hook (`sys.addaudithook`) sees the sockets and processes that Python opens, but not those of native libraries
such as the client of object stores.
"""

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
        # These threads may use the network: they run the servers of fixtures with the scope `session`.
        self.older_threads = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}


_current: _Watch | None = None


def _violation(event: str, args: tuple[Any, ...]) -> str | None:
    """Return what an audit event does that a unit test must not do, or None if the event is allowed."""
    if event in _PROCESS_EVENTS:
        return f"starts a process ({event} {args[:2]})"
    if event not in _NETWORK_EVENTS:
        return None
    address = args[1] if len(args) > 1 and event in {"socket.connect", "socket.bind", "socket.sendto"} else args[0]
    if event in {"socket.connect", "socket.bind"} and isinstance(address, str | bytes):
        return None  # a Unix socket is a file
    if event == "socket.sendmsg" and (len(args) < 2 or args[1] is None):
        return None  # no address: the socket is connected, such as one of a socket pair
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
    """Context manager in which the use of network sockets and processes raises UnitTestIO. Yields a list of all
    attempts, because the code under test may catch the error. In nested contexts, only the innermost one lists them."""
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
