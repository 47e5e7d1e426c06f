"""The message handler with the real ledger and simulated pipelines, on one event loop without Celery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis

from tasks.execution import message_handler
from tasks.execution.message_handler import MessageHandler, Outcome, Pipeline
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import allowed_s, async_wait_until
from worker.audio.segmentation.section_plan import SectionPlan, StreamingPlan, plans_json
from worker.errors import LedgerUnavailable, SessionLost
from worker.ledger.connection import RedisConnection
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobRecord, JobState, Ledger
from worker.pipeline.job import Job
from worker.settings import Settings, load
from worker.transcript.model import Gap, SectionFacts, Transcript

SPEC = '{"source": "/audio/a.wav", "speed": "max"}'
Act = Callable[[Job, Any], Awaitable[Transcript]]


class Scene:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledger = Ledger(settings)
        self.begun = asyncio.Event()
        self.stopped = asyncio.Event()

    def pipeline(self, act: Act) -> Pipeline:
        async def run(job: Job, *, settings: Settings, log: Any, listener: Any, slots: Any) -> Transcript:
            self.begun.set()
            try:
                return await act(job, log)
            finally:
                self.stopped.set()

        return run

    def handler(self, act: Act) -> MessageHandler:
        return MessageHandler(self.settings, self.ledger, self.pipeline(act))

    async def record(self) -> JobRecord:
        record = await self.ledger.get("a")
        assert record is not None
        return record


@pytest.fixture
async def scene(redis_url: str) -> AsyncIterator[Scene]:
    scene = Scene(load({}, redis_url=redis_url, lease_s=1, lease_renew_s=0.2, reap_interval_s=0.5))
    await scene.ledger.create("a", SPEC)
    yield scene
    await scene.ledger.close()


async def quick(job: Job, log: Any) -> Transcript:
    await log.commit(a_segment())
    return a_transcript(job.id)


async def forever(job: Job, log: Any) -> Transcript:
    await log.commit(a_segment())
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_lease_of_a_silent_pipeline_is_renewed(scene: Scene) -> None:
    running = asyncio.create_task(scene.handler(forever).perform("a", None))
    await scene.begun.wait()
    first = (await scene.record()).lease_until

    async def renewed_twice() -> bool:
        return (await scene.record()).lease_until > first + 1  # longer than one lease

    await async_wait_until(renewed_twice, "the lease is renewed", timeout_s=10)
    assert not isinstance(await scene.ledger.acquire("a", "other"), Lease)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_job_that_was_taken_over_stops(scene: Scene) -> None:
    running = asyncio.create_task(scene.handler(forever).perform("a", None))
    await scene.begun.wait()
    await scene.ledger.requeue("a")
    assert isinstance(await scene.ledger.acquire("a", "other"), Lease)
    assert await asyncio.wait_for(running, allowed_s(5)) is Outcome.SKIPPED
    assert scene.stopped.is_set()
    assert (await scene.record()).owner == "other"


async def test_drain_releases_running_jobs_and_starts_no_others(scene: Scene) -> None:
    handler = scene.handler(forever)
    running = asyncio.create_task(handler.perform("a", None))
    await scene.begun.wait()
    handler.drain()
    assert await asyncio.wait_for(running, allowed_s(5)) is Outcome.REQUEUED
    assert scene.stopped.is_set()
    record = await scene.record()
    assert (record.state, record.attempts, record.commits, record.owner) == (JobState.QUEUED, 0, 1, "")
    assert await handler.perform("a", None) is Outcome.REQUEUED
    assert (await scene.record()).state is JobState.QUEUED


async def test_a_drain_during_the_acquisition_releases_the_job(scene: Scene, monkeypatch: Any) -> None:
    handler = scene.handler(forever)
    take = scene.ledger.acquire_next

    async def take_and_drain(job_id: str, owner: str) -> Any:
        lease = await take(job_id, owner)
        handler.drain()
        return lease

    monkeypatch.setattr(scene.ledger, "acquire_next", take_and_drain)
    assert await handler.perform("a", None) is Outcome.REQUEUED
    assert (await scene.record()).state is JobState.QUEUED


async def test_a_duplicate_message_in_the_same_process_is_dropped(scene: Scene) -> None:
    handler = scene.handler(forever)
    running = asyncio.create_task(handler.perform("a", None))
    await scene.begun.wait()
    assert await handler.perform("a", None) is Outcome.SKIPPED
    assert (await scene.record()).attempts == 1
    handler.drain()
    await running


async def test_a_message_runs_the_first_job_of_the_queue(scene: Scene) -> None:
    await scene.ledger.create("b", SPEC)
    assert await scene.handler(quick).perform("b", None) is Outcome.ENDED
    assert (await scene.record()).state is JobState.DONE
    b = await scene.ledger.get("b")
    assert b is not None
    assert b.state is JobState.QUEUED
    # The message names a job that has expired, and the queue is empty.
    assert await scene.handler(quick).perform("nobody", None) is Outcome.ENDED
    assert await scene.handler(quick).perform("nobody", None) is Outcome.SKIPPED


async def cut_off(job: Job, log: Any) -> Transcript:
    raise LedgerUnavailable("no answer")


async def test_outages_of_redis_use_up_no_attempts(scene: Scene) -> None:
    for _ in range(scene.settings.job_attempts + 3):
        assert await asyncio.wait_for(scene.handler(cut_off).perform("a", None), allowed_s(10)) is Outcome.REQUEUED
        record = await scene.record()
        assert (record.state, record.attempts, record.commits) == (JobState.QUEUED, 0, 0)
    lease = await scene.ledger.acquire("a", "other")
    assert isinstance(lease, Lease)
    assert lease.tries == 1


async def test_a_redis_that_hangs_for_longer_than_a_lease_uses_up_no_attempt(
    scene: Scene, raw: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """The renewal gets no answer, so the attempt ends with the lease. The job is released when Redis answers again."""
    running = asyncio.create_task(scene.handler(forever).perform("a", None))
    await async_wait_until(lambda: raw.hget("stt:job:a", "commits") == "1", "a commit")
    raw.client_pause(8000)
    await asyncio.wait_for(scene.stopped.wait(), 7.5)  # while Redis does not answer
    assert await asyncio.wait_for(running, allowed_s(30)) is Outcome.REQUEUED
    record = await scene.record()
    assert (record.state, record.attempts, record.commits) == (JobState.QUEUED, 0, 1)


async def test_an_acquisition_whose_answer_was_lost_is_used_after_the_outage(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.ledger.create("b", SPEC)
    acquire = scene.ledger.acquire_next

    async def without_answer(job_id: str, owner: str) -> Any:
        await acquire(job_id, owner)
        raise LedgerUnavailable("no answer")

    handler = scene.handler(quick)
    monkeypatch.setattr(scene.ledger, "acquire_next", without_answer)
    monkeypatch.setattr(message_handler, "REQUEUE_PAUSE_S", 0.0)
    assert await handler.perform("a", None) is Outcome.REQUEUED
    assert (await scene.record()).state is JobState.RUNNING
    monkeypatch.setattr(scene.ledger, "acquire_next", acquire)
    assert await handler.perform("b", None) is Outcome.ENDED
    record = await scene.record()
    assert (record.state, record.attempts) == (JobState.DONE, 1)


@pytest.mark.parametrize("released", [True, False])
async def test_a_drain_does_not_wait_for_an_outage_of_redis(
    redis_url: str, released: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(load({}, redis_url=redis_url, lease_s=600, lease_renew_s=1))
    await scene.ledger.create("a", SPEC)
    tried = scene.stopped if released else asyncio.Event()

    async def away(lease: Lease) -> None:
        tried.set()
        raise LedgerUnavailable("no answer")

    if not released:
        monkeypatch.setattr(Lease, "release", away)
    handler = scene.handler(cut_off)
    running = asyncio.create_task(handler.perform("a", None))
    await tried.wait()
    handler.drain()
    assert await asyncio.wait_for(running, allowed_s(5)) is (Outcome.REQUEUED if released else Outcome.SKIPPED)
    await scene.ledger.close()


@pytest.mark.parametrize("channels", [(None,), (0, 1), (1,)], ids=str)
async def test_the_next_attempt_has_the_plan_and_the_finished_sections(
    scene: Scene, channels: tuple[int | None, ...]
) -> None:
    sections = (SectionPlan(0, 80_000), SectionPlan(80_000, 160_000, 16_000))
    plans = tuple(StreamingPlan(16000, 160_000, sections, skipped=((1, 2),), channel=channel) for channel in channels)
    facts = SectionFacts(start=80_000, end=160_000, sent=160_000, heard=160_000, committed=150_000, finished=True)
    seen: list[Job] = []

    async def breaks(job: Job, log: Any) -> Transcript:
        await log.record_plans(plans_json(plans))
        await log.commit(a_segment("two").model_copy(update={"section": 1}))
        await log.record_section(1, facts)
        raise SessionLost("gone")

    async def look(job: Job, log: Any) -> Transcript:
        seen.append(job)
        return await quick(job, log)

    assert await scene.handler(breaks).perform("a", None) is Outcome.POSTPONED
    raw = RedisConnection(scene.settings.redis_url)
    await raw.call(lambda redis: redis.delete(f"{scene.settings.redis_prefix}delayed"))
    await raw.close()
    assert await scene.handler(look).perform("a", None) is Outcome.ENDED
    assert seen[0].resume.plans == plans
    assert seen[0].resume.finished == {1: facts}
    assert [s.section for s in seen[0].resume.committed] == [1]
    # The job was restarted, so no state of the first attempt is left.
    await scene.ledger.create("a", SPEC, force=True)
    assert await scene.ledger.plan("a") == (None, {})


async def test_speed_auto_starts_at_the_speed_of_the_last_job(scene: Scene) -> None:
    seen: list[float | None] = []

    async def look(job: Job, log: Any) -> Transcript:
        seen.append(job.start_speed)
        reached = 5.5 if job.speed == "auto" else None
        return a_transcript(job.id).model_copy(update={"speed_reached": reached})

    for name in ("b", "c"):
        await scene.ledger.create(name, '{"source": "/audio/b.wav", "speed": "auto"}')
    handler = scene.handler(look)
    for _ in range(3):
        await handler.perform("b", None)
    assert seen == [None, None, 5.5]  # the first in the line is not `auto`


async def test_an_attempt_continues_after_the_committed_text(scene: Scene) -> None:
    seen: list[Job] = []

    async def look(job: Job, log: Any) -> Transcript:
        seen.append(job)
        return await quick(job, log)

    lease = await scene.ledger.acquire("a", "earlier")
    assert isinstance(lease, Lease)
    await lease.commit(a_segment("one"))
    await lease.release()
    assert await scene.handler(look).perform("a", None) is Outcome.ENDED
    assert [segment.text for segment in seen[0].resume.committed] == ["one"]
    assert seen[0].speed == float("inf")
    assert (await scene.record()).commits == 2


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(SessionLost("the line broke"), "session_lost", "the line broke"), (KeyError("x"), "internal", "KeyError")],
)
async def test_failures_are_recorded(scene: Scene, error: Exception, code: str, text: str) -> None:
    async def fail(job: Job, log: Any) -> Transcript:
        raise error

    scene.settings = scene.settings.model_copy(update={"job_attempts": 1})
    assert await scene.handler(fail).perform("a", None) is Outcome.ENDED
    record = await scene.record()
    assert (record.state, record.error_code) == (JobState.FAILED, code)
    assert text in (record.error or "")
    assert await scene.handler(quick).perform("a", None) is Outcome.SKIPPED


async def test_a_retryable_failure_is_tried_again_after_a_pause(scene: Scene) -> None:
    async def fail(job: Job, log: Any) -> Transcript:
        raise SessionLost("the line broke")

    handler = scene.handler(fail)
    assert await handler.perform("a", None) is Outcome.POSTPONED
    record = await scene.record()
    assert (record.state, record.error_code, record.error) == (JobState.QUEUED, "session_lost", "the line broke")
    assert await handler.perform("a", None) is Outcome.SKIPPED  # a message that was left over
    assert (await scene.record()).attempts == 1


async def test_an_incomplete_transcript_is_tried_again_and_stored_after_the_last_attempt(scene: Scene) -> None:
    async def give_up(job: Job, log: Any) -> Transcript:
        whole = a_transcript(job.id)
        gap = Gap(start=1.0, end=2.0, reason="no answer")
        coverage = whole.coverage.model_copy(update={"missing": (gap,)})
        return whole.model_copy(update={"coverage": coverage, "failures": ("no answer",)})

    assert await scene.handler(give_up).perform("a", None) is Outcome.POSTPONED
    await scene.ledger.create("b", SPEC)
    scene.settings = scene.settings.model_copy(update={"job_attempts": 1})
    assert await scene.handler(give_up).perform("b", None) is Outcome.ENDED
    record = await scene.ledger.get("b")
    assert record is not None
    assert (record.state, record.error) == (JobState.INCOMPLETE, "1.0–2.0 s missing: no answer")


async def test_a_cancelled_job_stops_between_renewals(redis_url: str) -> None:
    scene = Scene(load({}, redis_url=redis_url, lease_s=600, lease_renew_s=300))
    await scene.ledger.create("a", SPEC)
    running = asyncio.create_task(scene.handler(forever).perform("a", None))
    await scene.begun.wait()
    await scene.ledger.cancel("a")
    assert await asyncio.wait_for(running, allowed_s(2)) is Outcome.SKIPPED
    assert scene.stopped.is_set()
    assert (await scene.record()).state is JobState.CANCELLED
    await scene.ledger.close()


async def test_a_paused_job_stops_and_continues_where_it_stopped(scene: Scene) -> None:
    running = asyncio.create_task(scene.handler(forever).perform("a", None))
    await scene.begun.wait()
    assert await scene.ledger.pause(["a"]) == ["a"]
    assert await asyncio.wait_for(running, allowed_s(5)) is Outcome.SKIPPED
    assert await scene.handler(quick).perform("a", None) is Outcome.SKIPPED
    record = await scene.record()
    assert (record.state, record.paused, record.attempts) == (JobState.QUEUED, True, 0)
    assert await scene.ledger.pause(["a"], on=False) == ["a"]
    assert await scene.handler(quick).perform("a", None) is Outcome.ENDED


async def test_invalid_messages_are_refused(scene: Scene) -> None:
    handler = scene.handler(quick)
    for name, inline in ((None, None), (None, {"source": ""}), ("a b", {"source": "x"})):
        assert await handler.perform(name, inline) is Outcome.SKIPPED
    assert (await scene.record()).state is JobState.QUEUED
    assert await scene.ledger.recent_jobs() == ["a"]


async def test_a_whole_job_whose_source_is_missing_is_in_the_ledger(scene: Scene) -> None:
    await scene.ledger.cancel("a")
    assert await scene.handler(quick).perform(None, {"source": "/nowhere/b.wav", "batch": "b"}) is Outcome.ENDED
    (job_id,) = await scene.ledger.batch("b")
    record = await scene.ledger.get(job_id)
    assert record is not None
    assert record.state is JobState.DONE
