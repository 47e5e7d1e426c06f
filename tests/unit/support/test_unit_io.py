"""The rule that unit tests open no network socket and start no process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.unit_io import UnitTestIO, no_io
from tests.unit.conftest import ALLOWED_IO, HERE


def listen() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def send_datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.sendto(b"x", ("127.0.0.1", 9))


def connect() -> None:
    with socket.socket() as client:
        client.connect(("127.0.0.1", 9))


async def start_process() -> None:
    await asyncio.create_subprocess_exec(sys.executable, "-c", "")


FORBIDDEN: dict[str, Callable[[], object]] = {
    "a server": listen,
    "a connection": connect,
    "a datagram": send_datagram,
    "a name look-up": lambda: socket.getaddrinfo("localhost", 80),
    "a process": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
    "a process of asyncio": lambda: asyncio.run(start_process()),
    "a shell": lambda: os.system("true"),  # noqa: S605
    "a fork": os.fork,
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_network_sockets_and_processes_are_refused(what: str) -> None:
    with no_io() as violations, pytest.raises(UnitTestIO):
        FORBIDDEN[what]()
    assert len(violations) == 1


def test_an_error_that_the_code_catches_is_still_listed() -> None:
    def listen_and_ignore() -> None:
        with contextlib.suppress(UnitTestIO):
            listen()

    with no_io() as violations:
        thread = threading.Thread(target=listen_and_ignore)
        thread.start()
        thread.join()
    assert violations


def test_a_thread_of_other_tests_is_not_blamed() -> None:
    go, done = threading.Event(), threading.Event()

    def serve() -> None:
        go.wait(30)
        listen()
        done.set()

    with no_io():  # the guard of this test would count the thread as its own
        thread = threading.Thread(target=serve)
        thread.start()
        with no_io() as violations:
            go.set()
            assert done.wait(30)
        thread.join()
    assert violations == []


def test_files_socket_pairs_and_event_loops_are_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a Unix socket is short
    with no_io() as violations:
        left, right = socket.socketpair()
        with left, right:
            left.sendall(b"x")
            assert right.recv(1) == b"x"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
        asyncio.run(asyncio.sleep(0))
    assert violations == []


def test_every_exception_names_a_file_and_a_reason() -> None:
    for name, reason in ALLOWED_IO.items():
        assert (HERE / name).is_file(), name
        assert reason
