"""Free ports of 127.0.0.1 for the servers that tests start, different in every process of every test run.

Letting the kernel pick a port (port 0) and closing it again does not reserve the port: before the server binds it, an
outgoing connection or another test process may get it. So each process reserves a block of ports with a file lock,
which ends with the process. The blocks are below the range of outgoing connections (Linux: 32768 and up, macOS: 49152
and up).

Servers whose address workers store, such as proxies and web servers, also use these ports and not port 0: the kernel
soon gives the port of an ended server to another one, which then gets the retries of workers of other tests.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

FIRST_PORT, BLOCK_SIZE, BLOCKS = 12_000, 200, 100


def free_port() -> int:
    """Return a port on which no server listens. No other process gets it from this function while this one runs."""
    for port in itertools.islice(_block(os.getpid()).ports, BLOCK_SIZE):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"none of {BLOCK_SIZE} ports is free")


class _Block:
    """One block of ports, reserved by a file lock during the lifetime of the object."""

    def __init__(self) -> None:
        folder = Path(tempfile.gettempdir()) / f"stt-test-ports-{os.getuid()}"
        folder.mkdir(exist_ok=True)
        self._lock, number = self._reserve(folder)
        first = FIRST_PORT + number * BLOCK_SIZE
        self.ports: Iterator[int] = itertools.cycle(range(first, first + BLOCK_SIZE))

    @staticmethod
    def _reserve(folder: Path) -> tuple[IO[bytes], int]:
        for number in range(BLOCKS):
            lock = (folder / str(number)).open("wb")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
            else:
                return lock, number
        raise OSError(f"all {BLOCKS} blocks of test ports are in use (locks in {folder})")


@cache
def _block(_process_id: int) -> _Block:
    """Return the block of this process. The cache's key is the process id, so that a fork reserves a new block."""
    return _Block()
