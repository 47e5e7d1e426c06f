"""The lifecycle of a worker process, without Redis, Celery or a network."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from tasks import transcribe as task_module
from tasks.app import Reject
from tasks.event_loop import LoopThread
from tasks.execution import process_lifecycle as module
from tasks.execution.message_handler import Outcome
from tasks.execution.process_lifecycle import WorkerProcess, check_ledger
from worker.errors import LedgerNewer, LedgerUnavailable
from worker.ledger.ledger import Ledger
from worker.settings import load


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    loop = LoopThread("test-loop")
    yield loop
    loop.stop()


@pytest.fixture
def process(loop: LoopThread) -> WorkerProcess:
    return WorkerProcess(lambda: loop)


def test_all_task_threads_share_one_message_handler(process: WorkerProcess) -> None:
    with ThreadPoolExecutor(8) as threads:
        runners = set(threads.map(lambda _: process.handler(), range(8)))
    assert len(runners) == 1
    assert None not in runners


def test_a_draining_process_starts_no_job(process: WorkerProcess, loop: LoopThread) -> None:
    handler = process.handler()
    assert handler is not None
    process.drain()
    process.drain()
    assert process.handler() is None
    assert loop.call(handler.perform("job-1")) is Outcome.REQUEUED, "a task that had the handler already is drained too"


@pytest.mark.parametrize("step", ["drain", "close"])
def test_a_process_can_end_before_it_was_prepared(process: WorkerProcess, step: str) -> None:
    getattr(process, step)()
    process.close()


async def test_redis_may_be_unreachable_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: Ledger) -> None:
        raise LedgerUnavailable("no answer; check STT_REDIS_URL")

    monkeypatch.setattr(Ledger, "check_schema", away)
    with structlog.testing.capture_logs() as logs:
        await check_ledger(load({}))
    assert [(line["event"], line["error"]) for line in logs] == [
        ("Redis is unreachable at the start", "no answer; check STT_REDIS_URL")
    ]


async def test_a_ledger_of_a_newer_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def newer(_: Ledger) -> None:
        raise LedgerNewer("a newer version wrote it")

    monkeypatch.setattr(Ledger, "check_schema", newer)
    with pytest.raises(LedgerNewer):
        await check_ledger(load({}))


async def test_a_silent_redis_delays_the_start_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(_: Ledger) -> None:
        raise TimeoutError

    monkeypatch.setattr(Ledger, "check_schema", silent)
    with structlog.testing.capture_logs() as logs:
        await check_ledger(load({}))
    assert logs[0]["error"] == f"no answer within {module.REDIS_CHECK_TIMEOUT_S:g} s"


class MessageHandler:
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome

    async def perform(self, _job_id: Any, _job: Any) -> Outcome:
        return self.outcome


class FixedProcess:
    def __init__(self, handler: MessageHandler | None) -> None:
        self._handler = handler

    def handler(self) -> MessageHandler | None:
        return self._handler


@pytest.mark.parametrize(
    ("handler", "reason"),
    [(None, "this worker is shutting down"), (MessageHandler(Outcome.REQUEUED), "requeued")],
    ids=["draining", "requeued"],
)
def test_a_message_is_requeued(handler: MessageHandler | None, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "_process", FixedProcess(handler))
    with pytest.raises(Reject) as caught:
        task_module.transcribe.run("job-1")
    assert (caught.value.reason, caught.value.requeue) == (reason, True)


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.REQUEUED])
def test_every_other_outcome_acknowledges_the_message(outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_module, "_process", FixedProcess(MessageHandler(outcome)))
    task_module.transcribe.run("job-1")
