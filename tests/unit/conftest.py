"""Unit tests do no I/O beyond temporary files: a network socket or a process fails the test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.unit_io import no_io

HERE = Path(__file__).parent

# File below tests/unit -> why its tests need a process or a socket.
ALLOWED_IO: dict[str, str] = {
    "storage/test_background_hash.py": "a forked child has threads of its own",
    "support/test_ports.py": "ports belong to the machine, and another process must not get the same ones",
    "tasks/test_health.py": "the modules that a command imports are counted in a fresh interpreter",
    "tasks/test_light_import.py": "the modules that a producer imports are counted in a fresh interpreter",
    "tasks/test_supervisor.py": "the supervisor is a process that ends another one",
}


@contextmanager
def _without_io(item: pytest.Item) -> Generator[None]:
    if item.path.relative_to(HERE).as_posix() in ALLOWED_IO:
        yield
        return
    with no_io() as violations:
        yield
    if violations:
        pytest.fail(
            f"a unit test {'; '.join(violations)}: move it to tests/integration, or name its file with the reason in "
            f"ALLOWED_IO of {Path(__file__).name}"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with _without_io(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _without_io(item):
        return (yield)
