"""Prevents libraries from importing optional modules that this program does not use."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Final

UNUSED_MODULES: Final = (
    "opentelemetry.sdk.metrics",  # redis: metrics of commands, which are off by default; 0.1 s
    *("requests", "websocket", "tornado", "valkey"),  # python-socketio: clients and servers that are not used; 0.1 s
    "rich",  # structlog: tracebacks, for which this program has its own format; 0.03 s
    "yaml",  # kombu: a format of messages, which `accept_content` refuses; 0.02 s
)
"""The optional modules that the libraries of a service import, if they are installed, without using them here. The
times are CPU times of one process; without all of them, `run` of one file takes 0.45 s less CPU time."""


@contextmanager
def without_modules(*names: str) -> Iterator[None]:
    """Let imports of these modules fail as if they were not installed, in this thread and until the end of the block.
    Modules that are already imported stay available. The libraries must treat the modules as optional, and detect
    them by an import. A library that is first imported in the block stays without them, for all threads."""
    finder = _Missing(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Missing(MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        # Another thread may import the same modules to use them.
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        if fullname in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {fullname!r} (not used by this program)", name=fullname)


__all__ = ["UNUSED_MODULES", "without_modules"]
