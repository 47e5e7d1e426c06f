"""The start of the embedded stack (`tasks.embedded.stack`) with processes that never become ready."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest

from tasks.embedded import stack
from tests.support.tone_recognizer import ENGINE
from worker.errors import StackError
from worker.settings import Settings


class HangingChild:
    """A process that runs but is never ready."""

    def __init__(self, name: str, log: Path) -> None:
        self.name, self.log = name, log

    @classmethod
    def start(cls, name: str, _command: object, *, log: Path, **_: Any) -> Self:
        return cls(name, log)

    def check(self) -> None:
        """Do nothing: the process runs."""

    async def wait_until_ready(self, _ready: Callable[[], bool]) -> None:
        await asyncio.Event().wait()

    def request_stop(self, _word: str) -> None:
        """Do nothing: there is no process to stop."""

    async def wait_ended(self) -> None:
        """Do nothing: the process has ended."""


async def test_a_start_that_hangs_names_the_parts_that_are_not_ready_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack, "Child", HangingChild)
    monkeypatch.setattr(stack.Stack, "_until_valkey", lambda _, child: child.wait_until_ready(bool))
    monkeypatch.setattr(stack, "free_ports", lambda count: [1] * count)
    monkeypatch.setattr(stack, "START_TIMEOUT_S", 0.05)
    embedded = stack.Stack(Settings(server_recognizer=ENGINE), tmp_path, embedded_endpoint=True)
    with pytest.raises(StackError) as caught:
        await embedded.__aenter__()
    parts = f"the recognizer {ENGINE} and the queue and the worker"
    assert str(caught.value).startswith(f"{parts} did not start within 0.05 s; run the same command again")
    assert str(tmp_path / ".stt-batch" / "worker.log") in str(caught.value)
    # The processes check the values of their settings again.
    assert Settings(connect_timeout_s=embedded.settings.connect_timeout_s).connect_timeout_s == stack.CONNECT_TIMEOUT_S
