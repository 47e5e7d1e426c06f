"""Runs `python -m MODULE` in forks of one process that has loaded the third-party libraries already.

python -P -m tests.support.fork_server CONTROL_FD

A process of this project spends most of its start on the import of Celery, aiohttp and NumPy: about a second of CPU.
The tests start hundreds of processes. Modules of the project are loaded only after the fork, so that a child can
replace parts of them before it runs, and reads the settings from its own environment.

Tests do not use this module, but `tests.support.forked_process`. CONTROL_FD is the file descriptor of a socket for
requests. When its other end is closed, the server kills its children and ends.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from importlib import import_module
from types import FrameType

EXIT_CODE = struct.Struct("i")
_LIBRARIES = (
    *("aiohttp.web", "celery.apps.worker", "celery.bin.celery", "celery.bin.worker", "celery.worker.consumer"),
    *(
        "kombu.transport.redis",
        "redis.asyncio",
        "socketio",
        "pydantic_settings",
        "numpy",
        "soundfile",
        "soxr",
        "orjson",
    ),
    *("structlog", "rich.console", "rich.progress", "prometheus_client", "uvloop", "obstore", "pybase64", "opencc"),
    *("watchfiles", "wcwidth"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One process to start. `folder`: its current folder. `output`, `errors`: file descriptors for its standard output
    and standard error. `status`: socket on which the server reports its exit code."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    output: int
    errors: int
    status: socket.socket


def _receive(control: socket.socket) -> Request | None:
    """Receive the next request: a line of JSON, with the file descriptors of `output`, `errors` and `status`. Returns
    None when the other end is closed, because the tests have ended."""
    text, descriptors = b"", []
    while not text.endswith(b"\n"):
        data, received, _, _ = socket.recv_fds(control, 1 << 20, 3)
        descriptors += received
        if not data:
            return None
        text += data
    output, errors, status = descriptors
    return Request(**json.loads(text), output=output, errors=errors, status=socket.socket(fileno=status))


class Server:
    """Forks one child per request and reports the exit code of each."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: dict[int, socket.socket] = {}
        self._wakeup, self._signalled = socket.socketpair()
        for end in (self._wakeup, self._signalled):
            end.setblocking(False)

    def serve(self) -> Request | None:
        """Serve requests until the tests have ended.

        Returns in every process: in each forked child it returns the request that the child must run, and in the server
        it returns None at the end.
        """
        signal.set_wakeup_fd(self._signalled.fileno())
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        gc.freeze()  # otherwise a garbage collection in a child writes to, and so copies, all memory of the libraries
        while True:
            ready, _, _ = select.select([self._control, self._wakeup], [], [])
            if self._wakeup in ready:
                self._report_ended()
            if self._control in ready:
                if (request := _receive(self._control)) is None:
                    self._end()
                    return None
                if (child := os.fork()) == 0:
                    self._become_child()
                    return request
                for descriptor in (request.output, request.errors):
                    os.close(descriptor)
                self._children[child] = request.status
                self._control.sendall(f"{child}\n".encode())

    def _report_ended(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wakeup.recv(4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                with contextlib.suppress(OSError), self._children.pop(found[0]) as status:
                    status.sendall(EXIT_CODE.pack(os.waitstatus_to_exitcode(found[1])))

    def _become_child(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for open_socket in (self._control, self._wakeup, self._signalled, *self._children.values()):
            open_socket.close()

    def _end(self) -> None:
        for child in self._children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing. SIGCHLD needs a handler: Python writes to the wake-up socket only for signals that have one."""


def _run(request: Request) -> None:
    """Set up this forked process as `python -P -m MODULE` does, and run the module of the request to its end."""
    request.status.close()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    for descriptor, number in ((request.output, 1), (request.errors, 2)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    given = request.environment.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [*filter(None, given), *(entry for entry in sys.path if entry not in inherited)]
    os.environ.clear()
    os.environ.update(request.environment)
    time.tzset()
    os.chdir(request.folder)
    sys.argv = [request.module, *request.arguments]
    runpy.run_module(request.module, run_name="__main__", alter_sys=True)


def main() -> None:
    for name in _LIBRARIES:
        import_module(name)
    request = Server(socket.socket(fileno=int(sys.argv[1]))).serve()
    if request is not None:
        _run(request)


if __name__ == "__main__":
    main()
