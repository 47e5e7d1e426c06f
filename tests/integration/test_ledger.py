"""The ledger with a real Valkey: state changes, fencing, repeated calls, expiry of every key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import redis

from tasks import celery_config
from tests.support.ports import free_port
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import allowed_s, async_wait_until
from worker.errors import LeaseLost, LedgerUnavailable, SettingsError
from worker.job_progress import Progress
from worker.ledger.connection import RedisConnection
from worker.ledger.durability import durability_warnings
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger, Refusal
from worker.ledger.queue_stats import QueueStatsReader
from worker.settings import load

SPEC = '{"source": "/audio/a.wav"}'


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(load({}, redis_url=redis_url, lease_s=30, result_ttl=timedelta(hours=1)))
    yield ledger
    await ledger.close()


async def acquired(ledger: Ledger, job_id: str = "a", owner: str = "w1") -> Lease:
    lease = await ledger.acquire(job_id, owner)
    assert isinstance(lease, Lease), lease
    return lease


def lapse(raw: redis.Redis, job_id: str) -> None:
    """Make the lease of a job expire now."""
    raw.hset(f"stt:job:{job_id}", "lease", "1")


async def test_a_job_from_its_creation_to_its_transcript(ledger: Ledger) -> None:
    created = await ledger.create("a", SPEC, batch="b")
    assert (created.before, created.state) == (None, JobState.QUEUED)

    lease = await acquired(ledger)
    assert (lease.spec, lease.epoch, lease.attempts) == (SPEC, 2, 1)
    await lease.progress(Progress(duration_s=10, sent_s=4.5, committed_s=0, partial="hel"))
    running = await ledger.get("a")
    assert running is not None
    assert (running.state, running.owner, running.batch) == (JobState.RUNNING, "w1", "b")
    assert running.progress == Progress(10, 4.5, 0, "hel")

    await lease.commit(a_segment("one", 0, 1))
    await lease.commit(a_segment("two", 1, 2.5))
    entries = [entry async for entry in ledger.commits("a")]
    assert [(e.epoch, "one" in e.segment, "two" in e.segment) for e in entries] == [(2, True, False), (2, False, True)]
    assert [entry async for entry in ledger.commits("a", after=entries[0].stream_id)] == entries[1:]

    transcript = a_transcript("a", (a_segment("one"),))
    await lease.finish(transcript, ["/out/a.json"])
    done = await ledger.get("a")
    assert done is not None
    assert (done.state, done.outputs, done.commits) == (JobState.DONE, ("/out/a.json",), 2)
    assert (done.owner, done.lease_until, done.progress.committed_s) == ("", 0, 2.5)
    assert done.started_at is not None
    assert done.ended_at is not None
    assert done.created_at <= done.started_at <= done.ended_at
    assert await ledger.transcript("a") == transcript.model_dump_json()
    assert await ledger.batch("b") == ["a"]
    assert await ledger.recent_jobs() == ["a"]
    assert await ledger.recent_batches() == ["b"]


async def test_only_one_of_many_workers_acquires_a_job(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    leases = await asyncio.gather(*(ledger.acquire("a", f"w{n}") for n in range(20)))
    assert sum(isinstance(lease, Lease) for lease in leases) == 1
    assert [lease for lease in leases if not isinstance(lease, Lease)] == [Refusal.HELD] * 19
    assert raw.zcard("stt:leases") == 1


async def test_a_zombie_cannot_write(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    zombie = await acquired(ledger, owner="w1")
    await zombie.commit(a_segment("from the zombie"))
    lapse(raw, "a")
    heir = await acquired(ledger, owner="w2")
    assert heir.epoch == zombie.epoch + 1

    transcript = a_transcript("a")
    for write in (
        zombie.renew,
        lambda: zombie.commit(a_segment()),
        lambda: zombie.progress(Progress(1, 1, 1, "")),
        zombie.release,
        lambda: zombie.finish(transcript, []),
        lambda: zombie.fail("x", "x"),
    ):
        with pytest.raises(LeaseLost):
            await write()
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, record.owner, record.commits, record.attempts) == (JobState.RUNNING, "w2", 1, 2)
    assert await ledger.transcript("a") is None
    await heir.finish(transcript, [])


async def test_an_expired_lease_can_write_until_another_worker_acquires_the_job(
    ledger: Ledger, raw: redis.Redis
) -> None:
    await ledger.create("a", SPEC)
    lease = await acquired(ledger)
    lapse(raw, "a")
    await lease.commit(a_segment())
    assert await ledger.acquire("a", "w2") is Refusal.HELD


async def test_calls_with_a_lost_answer_can_be_repeated(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    await acquired(ledger)
    lease = await acquired(ledger)  # the same owner repeats the call
    await lease.commit(a_segment("one"))
    lease.commits = 0  # as if the answer to the first call was lost
    await lease.commit(a_segment("one"))
    assert len([entry async for entry in ledger.commits("a")]) == 1
    await lease.release()
    await lease.release()
    lease = await acquired(ledger)
    await lease.finish(a_transcript("a"), ["x"])
    await lease.finish(a_transcript("a"), ["x"])
    record = await ledger.get("a")
    assert record is not None
    assert record.state is JobState.DONE


async def test_the_next_owner_continues_after_the_last_commit(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    await (await acquired(ledger)).commit(a_segment("one"))
    lapse(raw, "a")
    heir = await acquired(ledger, owner="w2")
    await heir.commit(a_segment("two"))
    entries = [entry async for entry in ledger.commits("a")]
    assert [(entry.epoch, "one" in entry.segment) for entry in entries] == [(2, True), (3, False)]


async def test_release_requeues_at_once_and_counts_no_attempt(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    lease = await acquired(ledger)
    await lease.release()
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, record.attempts) == (JobState.QUEUED, 0)
    assert (await acquired(ledger, owner="w2")).attempts == 1
    with pytest.raises(LeaseLost):
        await lease.renew()


async def test_requeue_frees_a_job_whose_worker_is_gone(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    gone = await acquired(ledger)
    await ledger.requeue("a")
    await acquired(ledger, owner="w2")
    with pytest.raises(LeaseLost):
        await gone.commit(a_segment())


async def test_missing_and_ended_jobs_cannot_be_acquired(ledger: Ledger) -> None:
    assert await ledger.acquire("nobody", "w") is Refusal.MISSING
    await ledger.create("a", SPEC)
    await (await acquired(ledger)).fail("source_damaged", "a.wav: no audio in it")
    assert await ledger.acquire("a", "w") is Refusal.ENDED
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, record.error_code, record.error) == (
        JobState.FAILED,
        "source_damaged",
        "a.wav: no audio in it",
    )


async def test_submitting_an_existing_job_depends_on_its_state(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    assert (await ledger.create("a", SPEC)).before is JobState.QUEUED
    lease = await acquired(ledger)
    assert (await ledger.create("a", SPEC, force=True)).state is JobState.RUNNING
    await lease.finish(a_transcript("a"), ["x"])
    assert (await ledger.create("a", SPEC)).state is JobState.DONE
    again = await ledger.create("a", SPEC, force=True)
    assert (again.before, again.state) == (JobState.DONE, JobState.QUEUED)
    record = await ledger.get("a")
    assert record is not None
    assert (record.outputs, record.ended_at, record.attempts) == ((), None, 0)
    assert await ledger.transcript("a") is None
    with pytest.raises(LeaseLost):
        await lease.commit(a_segment())
    await (await acquired(ledger)).fail("x", "y")
    assert (await ledger.create("a", SPEC)).state is JobState.QUEUED


async def test_a_queued_job_takes_the_options_of_the_newest_submission(ledger: Ledger) -> None:
    await ledger.create("a", SPEC)
    await ledger.create("a", '{"source": "/moved/a.wav", "speed": "max"}')
    assert "moved" in (await acquired(ledger)).spec
    await ledger.create("a", SPEC)
    record = await ledger.get("a")
    assert record is not None
    assert "moved" in record.spec  # a running job does not change


async def test_the_last_writer_of_an_output_is_recorded(ledger: Ledger, raw: redis.Redis) -> None:
    assert not await ledger.claim_output("call", "a")
    assert await ledger.claim_output("call", "a")
    assert not await ledger.claim_output("call", "b")
    assert not await ledger.claim_output("call", "a")
    assert raw.ttl("stt:outputs") > 0


async def test_the_queue_can_be_cleared(ledger: Ledger, raw: redis.Redis) -> None:
    raw.rpush("stt:celery:stt", "m")
    raw.hset("stt:celery:unacked", "t", "m")
    await ledger.clear_queue("stt")
    assert raw.keys("*") == []


async def test_cancel_stops_the_owner_at_its_next_write(ledger: Ledger) -> None:
    assert await ledger.cancel("a") is None
    await ledger.create("a", SPEC)
    lease = await acquired(ledger)
    cancelled = await ledger.cancel("a")
    assert cancelled is not None
    assert (cancelled.before, cancelled.state) == (JobState.RUNNING, JobState.CANCELLED)
    with pytest.raises(LeaseLost):
        await lease.progress(Progress(1, 1, 1, ""))
    again = await ledger.cancel("a")
    assert again is not None
    assert again.before is JobState.CANCELLED


async def test_every_key_expires(ledger: Ledger, raw: redis.Redis) -> None:
    for job_id in "abcd":
        await ledger.create(job_id, SPEC, batch="batch")
    done = await acquired(ledger, "a")
    await done.commit(a_segment())
    await done.finish(a_transcript("a"), [])
    failed = await acquired(ledger, "b")
    await failed.commit(a_segment())
    await failed.fail("x", "y")
    running = await acquired(ledger, "c")
    await running.commit(a_segment())
    await running.progress(Progress(1, 1, 1, ""))

    ends = {key: raw.ttl(key) for key in raw.scan_iter("*")}
    assert all(ttl > 0 for ttl in ends.values()), ends
    assert all(key.startswith("stt:") for key in ends)
    finished = [key for key in ends if key.startswith(("stt:job:a", "stt:job:b"))]
    assert len(finished) == 5
    assert all(ends[key] <= 3600 for key in finished)
    assert ends["stt:job:c"] > 3600
    assert raw.zrange("stt:leases", 0, -1) == ["c"]

    await ledger.expire_content("a", timedelta(seconds=60))
    assert raw.ttl("stt:job:a:transcript") <= 60
    assert raw.ttl("stt:job:a:commits") <= 60
    assert raw.ttl("stt:job:a") > 60


async def test_renewal_extends_the_lease_and_ends_when_it_is_lost(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    lease = await acquired(ledger)
    lapse(raw, "a")
    keeper = asyncio.create_task(lease.renew_every(0.01))
    await async_wait_until(lambda: int(raw.hget("stt:job:a", "lease") or 0) > 1, "the lease is renewed")
    await ledger.cancel("a")
    with pytest.raises(LeaseLost):
        await asyncio.wait_for(keeper, allowed_s(5))


async def test_records_are_returned_in_the_requested_order(ledger: Ledger) -> None:
    await asyncio.gather(*(ledger.create(f"j{n}", SPEC, batch="big") for n in range(1200)))
    ids = [f"j{n}" for n in range(1200)]
    records = await ledger.get_many([*ids, "none"])
    assert [record.id if record else None for record in records] == [*ids, None]
    assert len(await ledger.batch("big")) == 1200


async def test_a_missing_redis_is_reported_with_a_remedy() -> None:
    ledger = Ledger(load({}, redis_url=f"redis://user:secret@127.0.0.1:{free_port()}/0"))
    with pytest.raises(LedgerUnavailable, match="STT_REDIS_URL") as caught:
        await ledger.ping()
    assert "secret" not in str(caught.value)
    await ledger.close()


async def test_a_cancellation_is_never_lost(redis_url: str) -> None:
    """Cancels a call at every step of the event loop, on a new and on an open connection."""
    settings = load({}, redis_url=redis_url)
    warm = Ledger(settings)
    await warm.ping()
    cancelled = 0
    for steps in range(40):
        fresh = Ledger(settings)
        for ledger in (warm, fresh):
            task = asyncio.create_task(ledger.ping())
            for _ in range(steps):
                await asyncio.sleep(0)
            if task.cancel():
                cancelled += 1
                with pytest.raises(asyncio.CancelledError):
                    await task
        await fresh.close()
    assert cancelled > 20
    await warm.ping()
    await warm.close()


async def test_scripts_survive_a_server_that_forgot_them(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    raw.script_flush()
    await ledger.create("b", SPEC)
    raw.client_kill_filter(_type="normal", skipme=True)
    assert (await ledger.create("c", SPEC)).state is JobState.QUEUED


async def test_redis_settings_that_can_lose_jobs_give_a_warning(ledger: Ledger) -> None:
    (warning,) = await ledger.durability()  # the server of these tests writes nothing to disk
    assert "appendonly yes" in warning


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"aof_enabled": 1, "maxmemory_policy": "noeviction"}, []),
        ({}, []),
        ({"aof_enabled": 0, "maxmemory_policy": "noeviction"}, ["appendonly yes"]),
        ({"aof_enabled": 1, "maxmemory_policy": "allkeys-lru"}, ["allkeys-lru"]),
        ({"aof_enabled": 0, "maxmemory_policy": "volatile-ttl"}, ["appendonly yes", "noeviction"]),
    ],
)
def test_durability_from_info(info: dict[str, object], words: list[str]) -> None:
    found = durability_warnings(info)
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"lease_s": 10, "lease_renew_s": 6}, "STT_LEASE_RENEW_S"),
        ({"lease_s": 4, "lease_renew_s": 1, "reap_interval_s": 5}, "STT_REAP_INTERVAL_S"),
        ({"lease_s": 7200}, "STT_LEASE_S"),
        ({"job_attempts": 0}, "STT_JOB_ATTEMPTS"),
    ],
)
def test_contradicting_settings_are_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        load({}, **wrong)


def test_a_lease_is_shorter_than_the_broker_s_visibility_timeout() -> None:
    longest = load({}, lease_s=3600)
    options = celery_config.for_settings(longest)["broker_transport_options"]
    assert options["visibility_timeout"] > longest.lease_s


async def test_values_that_are_not_utf_8_do_not_stop_listings_and_counts(ledger: Ledger, redis_url: str) -> None:
    """Another program wrote to the keys of jobs: invalid bytes, and text in fields of numbers."""
    await ledger.create("good", "{}")
    await ledger.create("bad", "{}")
    await ledger.create("worse", "{}")
    with redis.Redis.from_url(redis_url) as client:
        client.hset("stt:job:bad", mapping={"error": b"\xff\xfe", "spec": b"\xc3\x28", "created": b"\xff"})
        client.delete("stt:job:worse")
        client.set("stt:job:worse", b"\xff")
        client.zadd("stt:queue", {b"\xff\xfe": 1})
    records = await ledger.get_many(["good", "bad", "worse"])
    assert [record is not None for record in records] == [True, False, False]
    settings = load({}, redis_url=redis_url)
    connection = RedisConnection(redis_url)
    try:
        assert (await QueueStatsReader(settings, connection).read()).queued == 4
    finally:
        await connection.close()
