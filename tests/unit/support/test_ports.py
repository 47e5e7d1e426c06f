"""Ports for servers that tests start: no two processes get the same ones."""

from __future__ import annotations

import socket
import subprocess
import sys

from tests.support.ports import BLOCK_SIZE, free_port


def test_another_process_gets_other_ports() -> None:
    ours = {free_port() for _ in range(BLOCK_SIZE)}
    script = f"from tests.support.ports import free_port; print(*(free_port() for _ in range({BLOCK_SIZE})))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert not ours & set(map(int, found.stdout.split()))


def test_a_port_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        assert server.getsockname()[1] not in {free_port() for _ in range(BLOCK_SIZE)}
