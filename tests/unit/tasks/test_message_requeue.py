"""Requeues of messages: during an outage, but not after a permanent refusal; no whole job is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from redis import exceptions

from tasks.execution import message_handler as module
from tasks.execution.message_handler import MAX_REQUEUES, MessageHandler, Outcome
from worker.errors import LedgerRefused, LedgerUnavailable, WorkerShortage
from worker.ledger.connection import is_permanent
from worker.settings import load

JOB = {"source": "/audio/a.wav"}


class Letters:
    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def add(self, _raw: bytes, _queue: str, reason: str, _job: str = "") -> None:
        self.reasons.append(reason)


class AwayLedger:
    """A ledger in which every method raises `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.dead_letters = Letters()

    async def acquire_next(self, *_: Any, **__: Any) -> Any:
        raise self.error

    create = acquire_next


Made = tuple[MessageHandler, AwayLedger, list[str]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], Made]:
    monkeypatch.setattr(module, "REQUEUE_PAUSE_S", 0.0)

    def make_one(error: Exception) -> Made:
        ledger, sent = AwayLedger(error), []
        return MessageHandler(load({}), ledger, wake=sent.append), ledger, sent  # type: ignore[arg-type]

    return make_one


async def test_the_resends_of_a_job_are_bounded_while_redis_is_away(make: Callable[[Exception], Made]) -> None:
    handler, ledger, sent = make(LedgerUnavailable("away"))
    outcomes = [await handler.perform("job-1") for _ in range(MAX_REQUEUES + 1)]
    assert outcomes == [Outcome.RESENT] * MAX_REQUEUES + [Outcome.SKIPPED]
    assert sent == ["job-1"] * MAX_REQUEUES
    assert not ledger.dead_letters.reasons


async def test_a_permanent_refusal_of_redis_is_not_requeued(make: Callable[[Exception], Made]) -> None:
    handler, ledger, sent = make(LedgerRefused("permanently refuses a command: WRONGTYPE"))
    assert await handler.perform("job-1") is Outcome.SKIPPED
    assert await handler.perform("job-1", JOB) is Outcome.SKIPPED
    assert not sent
    assert len(ledger.dead_letters.reasons) == 2


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), WorkerShortage("too many open files")])
async def test_a_whole_job_is_never_dropped(error: Exception, make: Callable[[Exception], Made]) -> None:
    """The job is not recorded in the ledger yet, so it would be lost without its message."""
    handler, ledger, _ = make(error)
    outcomes = {await handler.perform("job-1", JOB) for _ in range(3 * MAX_REQUEUES)}
    assert outcomes == {Outcome.REQUEUED}
    assert not ledger.dead_letters.reasons


@pytest.mark.parametrize("name", ["ID:commits", "", "a b", "x" * 129, 5, ["x"], {"sauce": 1}, None])
async def test_an_invalid_id_is_refused_and_named(name: Any, make: Callable[[Exception], Made]) -> None:
    handler, ledger, sent = make(LedgerUnavailable("away"))
    assert await handler.perform(name) is Outcome.SKIPPED
    assert len(ledger.dead_letters.reasons) == 1
    assert not sent


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (exceptions.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), True),
        (exceptions.ResponseError("ERR Error running script: user_script:3: WRONGTYPE Operation"), True),
        (exceptions.ResponseError("ERR unknown command 'XAUTOCLAIM'"), True),
        (exceptions.DataError("Invalid input of type: 'NoneType'"), True),
        (exceptions.NoPermissionError("this user has no permissions to run the 'xadd' command"), True),
        (exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), False),
        (exceptions.ResponseError("ERR Error running script: user_script:3: OOM command not allowed"), False),
        (exceptions.ResponseError("MISCONF Redis is configured to save RDB snapshots"), False),
        (exceptions.ReadOnlyError("You can't write against a read only replica."), False),
        (exceptions.ResponseError("UNBLOCKED force unblock from blocking operation"), False),
        (exceptions.BusyLoadingError("Redis is loading the dataset in memory"), False),
        (exceptions.ConnectionError("Connection refused"), False),
        (exceptions.AuthenticationError("invalid username-password pair"), False),
        (TimeoutError(), False),
    ],
)
def test_only_lasting_refusals_are_permanent(error: Exception, permanent: bool) -> None:
    assert is_permanent(error) is permanent
