"""Free ports of 127.0.0.1 for the servers that tests start, different in every process of every test run.

A port that the kernel picks (port 0) and that is closed again is not reserved: before the server binds it, an outgoing
connection or another test process may get it. So each process takes a block of ports below the range of outgoing
connections (Linux: 32768 and up, macOS: 49152 and up), under a file lock that ends with the process.
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
    """A port without a server. No other process gets it from this function while this process runs."""
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
    """The block of this process. A fork takes a new block."""
    return _Block()
