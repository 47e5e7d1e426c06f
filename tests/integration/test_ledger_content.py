"""The content of a job in the ledger, and restarts of jobs whose source changed."""

from __future__ import annotations

import asyncio

import pytest

from tasks.execution.attempt import job_of
from tasks.execution.message_handler import MessageHandler, Outcome
from tasks.job_spec import JobSpec
from tests.support.samples_of import a_segment, a_transcript
from worker.errors import DamagedSource, EndpointUnavailable, OutputUnavailable, SourceChanged
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.pipeline.job import Job
from worker.pipeline.start_content import StartContent
from worker.settings import Settings

SPEC = '{"source": "/audio/a.wav"}'
ONE, OTHER = "1" * 64, "2" * 64
BEGAN = '{"stamp": "5 6 7 8 9", "sha256": null}'


async def taken(ledger: Ledger, job_id: str = "a") -> Lease:
    lease = await ledger.acquire(job_id, "worker")
    assert isinstance(lease, Lease)
    return lease


async def test_a_job_records_the_content_of_its_id(ledger: Ledger, settings: Settings) -> None:
    await ledger.create("a", SPEC, content=ONE)
    lease = await taken(ledger)
    assert (lease.content.named, lease.content.keyed) == (ONE, False)
    await lease.record_content(BEGAN, OTHER)
    await lease.commit(a_segment())
    await lease.release()
    lease = await taken(ledger)
    assert (lease.content.named, lease.content.began) == (ONE, BEGAN), "the recorded content is that of the submission"
    job = await job_of(lease, JobSpec(source="/audio/a.wav"), settings, ledger)
    assert job.content.submitted == ONE
    assert job.content.start == StartContent("5 6 7 8 9", None)


async def test_retry_starts_over_when_the_source_has_changed(ledger: Ledger) -> None:
    await ledger.create("a", SPEC, content=ONE)
    lease = await taken(ledger)
    await lease.record_content(BEGAN, ONE)
    await lease.record_plans("{}")
    await lease.commit(a_segment())
    await lease.fail("source_changed", "a.wav: its content has changed")
    assert (await ledger.get("a")).commits == 1  # type: ignore[union-attr]
    await ledger.retry("a")
    lease = await taken(ledger)
    assert (lease.commits, lease.content.named, lease.content.began) == (0, "*", "")
    assert await ledger.plan("a") == (None, {})
    assert [entry async for entry in ledger.commits("a")] == []


async def test_retry_resumes_after_any_other_failure(ledger: Ledger) -> None:
    await ledger.create("a", SPEC, content=ONE)
    lease = await taken(ledger)
    await lease.record_content(BEGAN, ONE)
    await lease.commit(a_segment())
    await lease.fail("session_lost", "gone")
    await ledger.retry("a")
    lease = await taken(ledger)
    assert (lease.commits, lease.content.named, lease.content.began) == (1, ONE, BEGAN)


async def test_a_job_done_with_other_content_is_queued_again(ledger: Ledger) -> None:
    """After `retry` on a changed source, the id does not belong to the transcribed content any more."""
    await ledger.create("a", SPEC, content=ONE)
    lease = await taken(ledger)
    await lease.fail("source_changed", "changed")
    await ledger.retry("a")
    lease = await taken(ledger)
    await lease.record_content(BEGAN, OTHER)
    await lease.finish(a_transcript("a"), ())
    assert (await ledger.create("a", SPEC, content=OTHER)).state is JobState.DONE
    again = await ledger.create("a", SPEC, content=ONE)
    assert (again.before, again.state) == (JobState.DONE, JobState.QUEUED)
    assert await ledger.transcript("a") is None


class Failing:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self, job: Job, *, settings: Settings, log: object, listener: object, slots: object) -> object:
        if self.errors:
            raise self.errors.pop(0)
        return a_transcript(job.id)


async def attempt(ledger: Ledger, settings: Settings, error: Exception, job_id: str = "a") -> Outcome:
    return await MessageHandler(settings, ledger, Failing(error)).perform(job_id)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [ONE, ""])
async def test_only_a_job_with_an_idempotency_key_restarts_automatically(
    ledger: Ledger, settings: Settings, content: str
) -> None:
    await ledger.create("a", SPEC, content=content)
    lease = await taken(ledger)
    await lease.commit(a_segment())
    await lease.release()
    outcome = await attempt(ledger, settings, SourceChanged("a.wav: its content has changed"))
    record = await ledger.get("a")
    assert record is not None
    if content:
        assert (outcome, record.state, record.commits) == (Outcome.ENDED, JobState.FAILED, 1)
    else:
        assert (outcome, record.state, record.commits) == (Outcome.POSTPONED, JobState.QUEUED, 0)


@pytest.mark.parametrize(
    "error",
    [
        OSError(24, "Too many open files"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ExceptionGroup("", [OSError(5, "Input/output error")]),
    ],
    ids=repr,
)
async def test_a_shortage_counts_no_attempt(ledger: Ledger, settings: Settings, error: Exception) -> None:
    await ledger.create("a", SPEC)
    assert await attempt(ledger, settings, error) is Outcome.POSTPONED
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, record.attempts, record.error_code) == (JobState.QUEUED, 0, "worker_shortage")


async def test_shortages_are_counted_separately_until_the_next_commit(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    for number in range(3):
        lease = await taken(ledger)
        assert (lease.shortages, lease.tries) == (number, 1)
        await lease.postpone(0.001, "worker_shortage", "no memory", counted="shortages")
        await asyncio.sleep(0.01)
    lease = await taken(ledger)
    await lease.commit(a_segment())
    await lease.release()
    assert (await taken(ledger)).shortages == 0


@pytest.mark.parametrize("error", [DamagedSource("broken")])
async def test_a_fault_of_the_input_still_ends_the_job(ledger: Ledger, settings: Settings, error: Exception) -> None:
    await ledger.create("a", SPEC)
    assert await attempt(ledger, settings, error) is Outcome.ENDED


@pytest.mark.parametrize("kind", [EndpointUnavailable, OutputUnavailable])
async def test_a_shortage_as_the_cause_of_another_error_counts_no_attempt(
    ledger: Ledger, settings: Settings, kind: type[Exception]
) -> None:
    error = kind("cannot connect")
    error.__cause__ = OSError(24, "Too many open files")
    await ledger.create("a", SPEC)
    await attempt(ledger, settings, error)
    record = await ledger.get("a")
    assert record is not None
    assert (record.attempts, record.error_code) == (0, "worker_shortage")
