"""A large batch does not starve jobs submitted later: real workers, a real queue, no limit on sessions."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.app import make_app
from tasks.client.celery_message import TRANSCRIBE_TASK
from tasks.client.handles import submit
from tasks.client.producer import make_spec, shared_producer
from tasks.event_loop import shared_loop
from tests.support.fleet import Fleet
from tests.support.forked_process import ForkedProcess
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import wait_until
from worker.ledger.records import JobRecord
from worker.settings import Settings

MANY = pytest.mark.parametrize("many", [2_000, pytest.param(10_000, marks=pytest.mark.chaos)])
SESSIONS = 2


@pytest.fixture
def worker(workers: StandInWorkers) -> ForkedProcess:
    return workers.start(STT_WORKER_SESSIONS=str(SESSIONS))


def enqueue(settings: Settings, batch: str, count: int, source: Path, **options: str) -> list[str]:
    """Submit a batch whose jobs all have the same source."""
    spec = make_spec(source, batch=batch, **options)
    jobs = [(f"{batch}-{n:05}", spec) for n in range(count)]
    shared_loop().call(shared_producer(settings).enqueue(jobs, batch=batch))
    return [job_id for job_id, _ in jobs]


def records(settings: Settings, ids: list[str]) -> list[JobRecord]:
    found = shared_loop().call(shared_producer(settings).ledger.get_many(ids))
    return [record for record in found if record is not None]


def begun(settings: Settings, ids: list[str]) -> list[float]:
    return [record.started_at for record in records(settings, ids) if record.started_at is not None]


def begun_before(settings: Settings, job_id: str, others: list[str]) -> int:
    """Return the number of other jobs that began between a job's submission and its start."""
    (record,) = records(settings, [job_id])
    assert record.started_at is not None
    return sum(record.created_at < at < record.started_at for at in begun(settings, others))


@MANY
def test_a_single_job_and_a_second_batch_do_not_wait_for_thousands(
    settings: Settings, tmp_path: Path, worker: ForkedProcess, many: int
) -> None:
    slow = tmp_path / "slow-4.wav"
    slow.write_bytes(b"x")
    first = enqueue(settings, "first", many, slow)
    wait_until(lambda: len(begun(settings, first[:50])) > 6, "some of the batch have begun", timeout_s=60)
    low = submit(slow, settings=settings, priority="low", idempotency_key="low")
    single = submit(slow, settings=settings, idempotency_key="single")
    high = submit(slow, settings=settings, priority="high", idempotency_key="high")
    single.wait(timeout_s=60)
    high.wait(timeout_s=60)
    assert begun_before(settings, "high", first) <= SESSIONS
    assert begun_before(settings, "single", first) <= SESSIONS + 2

    second = enqueue(settings, "second", many, slow)
    before = len(begun(settings, first[:1000]))
    wait_until(lambda: len(begun(settings, second[:100])) >= 10, "ten of the second have begun", timeout_s=60)
    after = len(begun(settings, first[:1000]))
    assert after - before <= 10 + SESSIONS + 2, "they take turns"
    assert low.status().started_at is None


def test_jobs_sent_as_whole_messages_do_not_starve_others(
    settings: Settings, tmp_path: Path, worker: ForkedProcess
) -> None:
    slow = tmp_path / "slow-4.wav"
    slow.write_bytes(b"x")
    celery = make_app(settings)
    names = [f"whole-{n:03}" for n in range(500)]
    with celery.producer_or_acquire() as producer:
        for name in names:
            job = {"source": str(slow), "batch": "whole"}
            kwargs = {"job_id": name, "job": job}
            celery.send_task(
                TRANSCRIBE_TASK, kwargs=kwargs, queue=settings.queue, producer=producer, ignore_result=True
            )
    wait_until(lambda: len(begun(settings, names[:50])) > 6, "some have begun", timeout_s=60)
    single = submit(slow, settings=settings, idempotency_key="single")
    single.wait(timeout_s=60)
    assert begun_before(settings, "single", names) <= SESSIONS + 2


@MANY
@pytest.mark.chaos
@pytest.mark.timeout(180)
def test_two_workers_share_real_audio_fairly(fleet: Fleet, many: int) -> None:
    source, _ = fleet.audio("one", 3)
    single_source, words = fleet.audio("single", 4, seed=7)
    batch = enqueue(fleet.settings, "big", many, source, speed="4")
    assert fleet.queued_messages() == many
    for _ in range(2):
        fleet.start(sessions=SESSIONS)
    wait_until(lambda: len(begun(fleet.settings, batch[:50])) > 6, "the batch is being worked on", timeout_s=60)
    single = submit(single_source, settings=fleet.settings, speed=4.0)
    assert single.wait(timeout_s=60).state == "done"
    assert begun_before(fleet.settings, single.id, batch) <= 2 * SESSIONS + 2
    fleet.assert_done(single.id, words)
    assert fleet.settings.api_key_max_sessions == 0
