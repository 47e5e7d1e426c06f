"""The reaper with a real ledger: the jobs it requeues, the ones it ignores, and the messages it sends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack

import pytest
import redis
import structlog

from tasks.background.reaper import Reaper
from tasks.execution.lease_renewer import LeaseRenewer
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import async_wait_until
from worker import metrics
from worker.errors import LeaseLost, LedgerUnavailable
from worker.job_progress import Progress
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger, Refusal
from worker.settings import Settings, load

SPEC = json.dumps({"source": "/audio/a.wav"})


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url, reap_interval_s=0.1, job_attempts=4, job_backoff_s=0.5)


class Sent:
    def __init__(self, settings: Settings, ledger: Ledger) -> None:
        self.ids: list[str] = []
        self.renewer = LeaseRenewer(settings, ledger)
        self.reaper = Reaper(settings, ledger, self, self.renewer.renew_all)

    def __call__(self, job_ids: Sequence[str]) -> None:
        self.ids += job_ids

    async def once(self) -> list[str]:
        self.ids.clear()
        await self.reaper.once()
        return sorted(self.ids)


@pytest.fixture
def sent(settings: Settings, ledger: Ledger) -> Sent:
    return Sent(settings, ledger)


async def acquired(ledger: Ledger, job_id: str = "a", owner: str = "w") -> Lease:
    lease = await ledger.acquire(job_id, owner)
    assert isinstance(lease, Lease), lease
    return lease


def lapse(raw: redis.Redis, *job_ids: str) -> None:
    """Make all leases expire now."""
    for job_id in job_ids:
        raw.hset(f"stt:job:{job_id}", "lease", "1")
        raw.zadd("stt:leases", {job_id: 1})


def due(raw: redis.Redis, *job_ids: str) -> None:
    """End the delays of all jobs now."""
    for job_id in job_ids:
        raw.zadd("stt:delayed", {job_id: 1})


async def test_an_expired_lease_is_requeued_once_and_its_owner_is_refused(
    ledger: Ledger, raw: redis.Redis, sent: Sent
) -> None:
    await ledger.create("a", SPEC)
    await ledger.create("b", SPEC)
    zombie, alive = await acquired(ledger), await acquired(ledger, "b")
    await zombie.commit(a_segment())
    assert await sent.once() == []
    lapse(raw, "a")
    assert await sent.once() == ["a"]
    assert await sent.once() == []
    with pytest.raises(LeaseLost):
        await zombie.commit(a_segment())
    await alive.renew()
    assert (await acquired(ledger)).commits == 1


async def test_an_overloaded_worker_does_not_take_its_running_jobs_from_itself(
    ledger: Ledger, raw: redis.Redis, sent: Sent
) -> None:
    ids = [f"j{n}" for n in range(30)]
    await ledger.create_many([(i, SPEC) for i in [*ids, "other"]])
    leases = [await acquired(ledger, job_id) for job_id in ids]
    await acquired(ledger, "other", "another worker, which died")
    with ExitStack() as holding:
        for lease in leases:
            holding.enter_context(sent.renewer.holding(lease))
        for _ in range(6):  # more often than the attempts of a job
            lapse(raw, *ids, "other")
            assert set(await sent.once()) <= {"other"}
        await leases[0].commit(a_segment())
        assert not any(lease.lost.is_set() for lease in leases)
    assert {raw.hget(f"stt:job:{job_id}", "state") for job_id in ids} == {"running"}
    assert raw.hget("stt:job:other", "state") == "queued"


async def test_an_outage_of_redis_does_not_count_as_a_stopped_worker(
    ledger: Ledger, raw: redis.Redis, sent: Sent
) -> None:
    """The reaper of one worker may search before the other workers have renewed their leases."""
    await ledger.create_many([("a", SPEC), ("b", SPEC)])
    alive = await acquired(ledger)
    await acquired(ledger, "b", "a worker that died during the last outage")
    await sent.once()
    for _ in range(6):  # more often than the attempts of a job
        lapse(raw, "a", "b")
        raw.hset("stt:queue:turns", "search due", "1")  # as if no worker has reached Redis for a long time
        for job_id in ("a", "b"):
            assert await ledger.acquire(job_id, "another worker with an old message") is Refusal.HELD
        assert await sent.once() == []
        assert await sent.once() == []
        await alive.renew()
    assert alive.attempts == 1
    await alive.commit(a_segment())
    raw.hset("stt:queue:turns", "renewals until", "1")
    assert await sent.once() == ["b"]
    assert raw.hget("stt:job:b", "tries") == "1"


async def test_after_an_outage_the_workers_have_one_term_to_renew(redis_url: str, raw: redis.Redis) -> None:
    settings = load({}, redis_url=redis_url, lease_s=1, lease_renew_s=0.5, reap_interval_s=0.1)
    ledger = Ledger(settings)
    sent = Sent(settings, ledger)
    await ledger.create("a", SPEC)
    await acquired(ledger)
    await sent.once()
    lapse(raw, "a")
    await asyncio.sleep(0.6)  # longer than a lease lasts after a late renewal
    found, started = list[str](), time.monotonic()
    while not found and time.monotonic() < started + 10:
        found = await sent.once()
        await asyncio.sleep(0.1)
    assert found == ["a"]
    assert time.monotonic() - started > 0.9, "STT_LEASE_S after the outage"
    await ledger.close()


async def test_a_renewal_does_not_bring_back_a_lost_lease(
    ledger: Ledger, settings: Settings, raw: redis.Redis, sent: Sent
) -> None:
    await ledger.create("a", SPEC)
    zombie = await acquired(ledger)
    with sent.renewer.holding(zombie):
        lapse(raw, "a")
        assert await Sent(settings, ledger).once() == ["a"]
        assert await sent.once() == []
        assert zombie.lost.is_set()
    assert (await acquired(ledger, owner="next")).epoch > zombie.epoch


async def test_many_reapers_send_one_message(ledger: Ledger, settings: Settings, raw: redis.Redis) -> None:
    ledger._lost_message_ms = 60_000  # none of these messages arrives, which a slow run of this test must not notice
    ids = [f"j{n}" for n in range(30)]
    await ledger.create_many([(i, SPEC) for i in ids])
    for job_id in ids:
        await acquired(ledger, job_id)
    lapse(raw, *ids)
    reapers = [Sent(settings, ledger) for _ in range(8)]
    found = await asyncio.gather(*(one.once() for one in reapers))
    assert sorted(job_id for one in found for job_id in one) == sorted(ids)


async def test_a_job_that_crashes_its_workers_fails_and_can_be_retried(
    ledger: Ledger, raw: redis.Redis, sent: Sent
) -> None:
    await ledger.create("a", SPEC)
    await (await acquired(ledger)).commit(a_segment("kept"))
    for number in range(1, 5):
        lapse(raw, "a")
        found = await sent.once()
        if number == 4:  # the third in a row without a commit: requeued after a delay
            assert found == []
            assert await ledger.acquire("a", "w") is Refusal.DELAYED
            due(raw, "a")
            found = await sent.once()
        assert found == ["a"]
        assert (await acquired(ledger)).tries == number
    lapse(raw, "a")
    assert await sent.once() == []
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, record.error_code, record.commits) == (JobState.FAILED, "attempts", 1)
    assert "4 workers in a row" in (record.error or "")
    assert raw.ttl("stt:job:a") > 0
    assert raw.zcard("stt:leases") == 0

    retried = await ledger.retry("a")
    assert retried is not None
    assert (retried.before, retried.state) == (JobState.FAILED, JobState.QUEUED)
    lease = await acquired(ledger)
    assert (lease.commits, lease.attempts, lease.tries) == (1, 1, 1)
    await lease.finish(a_transcript("a"), [])
    again = await ledger.retry("a")
    assert again is not None
    assert again.state is JobState.DONE


async def test_a_retry_from_the_start_deletes_the_commits(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    lease = await acquired(ledger)
    await lease.commit(a_segment())
    await lease.fail("x", "y")
    await ledger.retry("a", keep_commits=False)
    assert (await acquired(ledger)).commits == 0
    assert [entry async for entry in ledger.commits("a")] == []


async def test_a_commit_resets_the_count_of_attempts(ledger: Ledger, raw: redis.Redis, sent: Sent) -> None:
    """A long job may lose any number of workers as long as it progresses."""
    await ledger.create("a", SPEC)
    for _ in range(10):
        await (await acquired(ledger)).commit(a_segment())
        lapse(raw, "a")
        assert await sent.once() == ["a"]


async def test_a_postponed_job_is_queued_after_its_delay(ledger: Ledger, raw: redis.Redis, sent: Sent) -> None:
    await ledger.create("a", SPEC)
    await (await acquired(ledger)).postpone(60, "session_lost", "no line", counted=False)
    assert await sent.once() == []
    assert await ledger.acquire("a", "w") is Refusal.DELAYED
    due(raw, "a")
    assert await sent.once() == ["a"]
    assert await sent.once() == []
    assert (await acquired(ledger)).attempts == 1


async def test_only_jobs_of_stopped_workers_are_reported_as_requeued(
    ledger: Ledger, raw: redis.Redis, sent: Sent
) -> None:
    """A job whose delay is over, for example while its key is paused, is no sign of a crashed worker."""
    requeued = metrics.REAPED.labels("requeued")
    before = requeued._value.get()
    for name in ("a", "b"):
        await ledger.create(name, SPEC)
    await (await acquired(ledger)).postpone(0.001, "key_paused", "no credit", counted=False)
    await acquired(ledger, "b", "w2")
    await asyncio.sleep(0.01)
    with structlog.testing.capture_logs() as lines:
        assert await sent.once() == ["a"]
        assert requeued._value.get() == before
        assert [line["event"] for line in lines if line["log_level"] != "debug"] == []
        lapse(raw, "b")
        assert await sent.once() == ["b"]
    assert requeued._value.get() == before + 1
    shown = [line for line in lines if line["log_level"] != "debug"]
    assert [(line["event"], line["first"]) for line in shown] == [("jobs of stopped workers requeued", "b")]


async def test_lost_messages_are_sent_again(ledger: Ledger, raw: redis.Redis, sent: Sent) -> None:
    ledger._lost_message_ms = 60_000  # the test ends this time itself
    await ledger.create_many([(f"j{n}", SPEC) for n in range(5)])
    assert await sent.once() == []  # the messages may still arrive
    assert await sent.once() == []
    raw.rpush("stt:celery:stt", "a message", "another")
    raw.rpush("stt:celery:stt\x06\x163", "one of another priority")
    assert await sent.once() == []
    raw.hset("stt:queue:turns", "missing since", "1")
    assert len(await sent.once()) == 2  # as many as were missing during the whole interval
    raw.delete("stt:celery:stt", "stt:celery:stt\x06\x163")
    assert await sent.once() == []
    raw.hset("stt:queue:turns", "missing since", "1")
    assert len(await sent.once()) == 5
    # Jobs that have begun or ended need no message.
    for n in range(5):
        lease = await acquired(ledger, f"j{n}")
        if n:
            await lease.finish(a_transcript(), [])
    assert raw.zcard("stt:queue") == 0
    raw.hset("stt:queue:turns", "missing since", "1")
    assert await sent.once() == []


async def test_a_queue_with_all_messages_needs_no_others(ledger: Ledger, raw: redis.Redis, sent: Sent) -> None:
    ids = [f"j{n}" for n in range(50)]
    await ledger.create_many([(i, SPEC) for i in ids])
    await sent.once()
    raw.rpush("stt:celery:stt", *ids)
    raw.hset("stt:queue:turns", "missing since", "1")
    assert await sent.once() == []
    assert raw.hget("stt:queue:turns", "missing since") is None


async def test_paused_jobs_wait_until_they_are_resumed(ledger: Ledger, raw: redis.Redis, sent: Sent) -> None:
    await ledger.create("a", SPEC, batch="b")
    await ledger.create("r", SPEC, batch="b")
    running = await acquired(ledger, "r")
    await running.commit(a_segment())
    assert sorted(await ledger.pause(["a", "r"], batch="b")) == ["a", "r"]
    await ledger.create("later", SPEC, batch="b")
    assert await ledger.paused("b")
    for job_id in ("a", "r", "later"):
        assert await ledger.acquire(job_id, "w") is Refusal.PAUSED
    with pytest.raises(LeaseLost):
        await running.commit(a_segment())
    assert raw.zcard("stt:queue") == 0
    assert await ledger.pause(["a", "r"], batch="b") == []
    assert sorted(await ledger.pause(["a", "r", "later"], batch="b", on=False)) == ["a", "later", "r"]
    assert raw.zrange("stt:queue", 0, -1) == ["r", "a", "later"], "jobs that have begun come first"
    assert (await acquired(ledger, "r")).commits == 1
    assert all(raw.ttl(key) > 0 for key in raw.scan_iter("stt:*"))


async def test_writing_progress_finds_lost_leases(ledger: Ledger) -> None:
    for job_id in "abcd":
        await ledger.create(job_id, SPEC)
    held = [await acquired(ledger, job_id) for job_id in "abcd"]
    for number, lease in enumerate(held):
        lease.note(Progress(duration_s=10, sent_s=number, committed_s=0, partial=""))
    assert await ledger.write_progress(held) == []
    await ledger.cancel("b")
    await ledger.requeue("c")
    held[1].note(Progress(duration_s=10, sent_s=9, committed_s=0, partial=""))
    assert await ledger.write_progress(held) == held[1:3]
    records = [record for record in await ledger.get_many("abcd") if record is not None]
    assert [record.progress.sent_s for record in records] == [0, 1, 2, 3]


async def test_the_reaper_continues_after_redis_was_away(settings: Settings, raw: redis.Redis) -> None:
    class Away(Ledger):
        times = 0

        async def reap(self, *args: object, **options: object) -> object:  # type: ignore[override]
            self.times += 1
            if self.times == 1:
                raise LedgerUnavailable("no answer")
            if self.times == 2:
                raise KeyError("a bug")
            return await super().reap(*args, **options)  # type: ignore[arg-type]

    settings = settings.model_copy(update={"lease_renew_s": 0.2})
    ledger = Away(settings)
    await ledger.create("a", SPEC)
    await acquired(ledger)
    lapse(raw, "a")
    sent = Sent(settings, ledger)
    running = asyncio.create_task(sent.reaper.run())
    await async_wait_until(lambda: sent.ids == ["a"], "it is sent")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await ledger.close()
