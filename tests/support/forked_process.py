"""Starts `python -m MODULE` from a fork server, which saves the second of CPU that a new process spends on imports.

The forks are real processes, with their own environment, log and signals; see `tests.support.fork_server`. Tests of the
start itself, of the console script or of options of the interpreter must use `subprocess` instead.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import IO

from tests.support.fork_server import EXIT_CODE

ROOT = Path(__file__).parents[2]


class ForkedProcess:
    """A started process, with the methods of `subprocess.Popen` that tests need."""

    def __init__(self, module: str, pid: int, status: socket.socket) -> None:
        self.module = module
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        """Return the exit code (a negative number if a signal ended the process), or None while the process runs."""
        self._receive(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end of the process. Returns its exit code. Raises subprocess.TimeoutExpired after `timeout`
        seconds."""
        self._receive(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.module, timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _receive(self, timeout_s: float | None) -> None:
        if self.returncode is not None:
            return
        self._status.settimeout(timeout_s)
        with contextlib.suppress(BlockingIOError, TimeoutError):
            code = self._status.recv(EXIT_CODE.size)
            self._status.close()
            if not code:
                raise AssertionError(f"the fork server ended before {self.module} (process {self.pid})")
            (self.returncode,) = EXIT_CODE.unpack(code)


class _Server:
    """Starts the fork server of this process, and sends requests to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control, remote = socket.socketpair()
        with remote:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.support.fork_server", str(remote.fileno())],
                cwd=ROOT,  # not the folder of a test: `Cli.processes` would find the fork server there
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[remote.fileno()],
            )
        atexit.register(self.close)

    def start(self, request: Mapping[str, object], output: IO[bytes], errors: IO[bytes]) -> ForkedProcess:
        """Start a process. `request`: the fields of `fork_server.Request`, except its file descriptors and socket."""
        status, remote = socket.socketpair()
        with self._lock, remote:
            descriptors = [output.fileno(), errors.fileno(), remote.fileno()]
            socket.send_fds(self._control, [json.dumps(request).encode() + b"\n"], descriptors)
            pid = self._control.recv(64)
        assert pid, "the fork server ended"
        return ForkedProcess(str(request["module"]), int(pid), status)

    def close(self) -> None:
        self._control.close()
        self._process.wait(10)


@cache
def _server() -> _Server:
    return _Server()


def start_process(
    module: str,
    *arguments: str,
    env: Mapping[str, str],
    log: Path,
    errors: Path | None = None,
    folder: Path = ROOT,
) -> ForkedProcess:
    """Start `python -P -m MODULE ARGUMENTS` in `folder`. `env`: all its environment variables. Its standard output is
    appended to the file `log`, and its standard error to the file `errors`, or also to `log` if that is None."""
    request = {"module": module, "arguments": arguments, "environment": dict(env), "folder": str(folder)}
    with log.open("ab") as output, (errors or log).open("ab") as error_output:
        return _server().start(request, output, error_output)
