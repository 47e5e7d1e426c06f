"""The listing of jobs: filters, pages, and entries that follow every change of a state."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import redis

from tests.support.samples_of import a_transcript
from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.job_listing import JobFilter, JobListing
from worker.ledger.keys import Keys
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import load


@pytest.fixture
async def ledger(redis_url: str) -> AsyncIterator[Ledger]:
    ledger = Ledger(load({}, redis_url=redis_url, lease_s=30, result_ttl=timedelta(hours=1)))
    yield ledger
    await ledger.close()


@pytest.fixture
async def listing(redis_url: str) -> AsyncIterator[JobListing]:
    connection = RedisConnection(redis_url)
    yield JobListing(connection, Keys("stt:"), timedelta(hours=1))
    await connection.close()


def spec(source: str) -> str:
    return json.dumps({"source": source})


async def every_id(listing: JobListing, wanted: JobFilter, limit: int) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await listing.page(wanted, cursor=cursor, limit=limit)
        assert len(page.ids) <= limit
        found += page.ids
        cursor = page.cursor
        if cursor is None:
            return found


async def in_state(listing: JobListing, state: JobState) -> list[str]:
    return list((await listing.page(JobFilter(states=(state,)))).ids)


async def test_every_change_of_a_state_moves_the_entry(ledger: Ledger, listing: JobListing, raw: redis.Redis) -> None:
    async def check(state: JobState) -> None:
        record = await ledger.get("a")
        assert record is not None
        assert record.state is state
        assert {name: await in_state(listing, name) for name in JobState} == {
            name: ["a"] if name is state else [] for name in JobState
        }
        assert await every_id(listing, JobFilter(), 10) == ["a"]

    async def acquired() -> Lease:
        lease = await ledger.acquire("a", "w")
        assert isinstance(lease, Lease)
        return lease

    await ledger.create("a", spec("/x/a.wav"))
    await check(JobState.QUEUED)
    lease = await acquired()
    await check(JobState.RUNNING)
    await lease.release()
    await check(JobState.QUEUED)
    lease = await acquired()
    await lease.postpone(60, "session_lost", "broke")
    await check(JobState.QUEUED)
    raw.zadd("stt:delayed", {"a": 1})
    await ledger.reap("stt", tries=5, delay_s=1)
    lease = await acquired()
    raw.hset("stt:job:a", "lease", "1")
    raw.zadd("stt:leases", {"a": 1})
    await ledger.reap("stt", tries=5, delay_s=1)
    await check(JobState.QUEUED)
    lease = await acquired()
    await lease.fail("bad", "reason")
    await check(JobState.FAILED)
    await ledger.retry("a")
    await check(JobState.QUEUED)
    await ledger.pause(["a"])
    await check(JobState.QUEUED)
    await ledger.pause(["a"], on=False)
    await ledger.cancel("a")
    await check(JobState.CANCELLED)
    await ledger.create("a", spec("/x/a.wav"))
    await check(JobState.QUEUED)
    await (await acquired()).finish(a_transcript("a"), ())
    await check(JobState.DONE)
    await ledger.create("a", spec("/x/b.wav"), force=True)
    await check(JobState.QUEUED)
    assert await every_id(listing, JobFilter(name="b.wav"), 10) == ["a"]
    assert await every_id(listing, JobFilter(name="a.wav"), 10) == []


async def test_filters_and_pages_find_each_job_once(ledger: Ledger, listing: JobListing, raw: redis.Redis) -> None:
    jobs = [(f"j{n:03}", spec(f"https://host/calls/Call {n}.WAV?key=secret{n}")) for n in range(60)]
    await ledger.create_many(jobs[:30], batch="one", producer="p1")
    await ledger.create_many(jobs[30:], batch="two\nlines", producer="p2")
    await ledger.cancel_many([f"j{n:03}" for n in range(0, 60, 3)])
    created = {job_id: int(raw.hget(f"stt:job:{job_id}", "created") or 0) for job_id, _ in jobs}
    newest = sorted(created, key=lambda job_id: (created[job_id], job_id), reverse=True)
    cancelled = {f"j{n:03}" for n in range(0, 60, 3)}
    ended, waiting = (JobState.CANCELLED,), (JobState.QUEUED,)
    expected = {
        JobFilter(): newest,
        JobFilter(states=(*ended, *waiting)): newest,
        JobFilter(states=ended): [one for one in newest if one in cancelled],
        JobFilter(states=waiting, batch="one"): [one for one in newest if one not in cancelled and one < "j030"],
        JobFilter(batch="two\nlines"): [one for one in newest if one >= "j030"],
        JobFilter(name="CALL 5"): [one for one in newest if one == "j005" or one >= "j050"],
        JobFilter(producer="p1"): [one for one in newest if one < "j030"],
        JobFilter(producer=""): [],
        JobFilter(name="secret"): [],
        JobFilter(name="p1"): [],
        JobFilter(batch="p1"): [],
        JobFilter(states=(JobState.DONE,)): [],
        JobFilter(created_to=1.0): [],
        JobFilter(created_from=time.time() + 60): [],
        JobFilter(created_from=created["j020"] / 1000, created_to=created["j040"] / 1000): [
            one for one in newest if created["j020"] <= created[one] <= created["j040"]
        ],
    }
    for wanted, ids in expected.items():
        for limit in (1, 7, 500):
            assert await every_id(listing, wanted, limit) == ids, (wanted, limit)
    counts = await listing.counts()
    assert (counts[JobState.CANCELLED], counts[JobState.QUEUED], counts[JobState.DONE]) == (20, 40, 0)
    assert {key: raw.pttl(key) > 0 for key in raw.keys("stt:listing*")} == dict.fromkeys(raw.keys("stt:listing*"), True)


async def test_a_cursor_stays_valid_when_jobs_come_and_go(ledger: Ledger, listing: JobListing) -> None:
    await ledger.create_many([(f"j{n}", spec(f"/{n}")) for n in range(9)])
    first = await listing.page(JobFilter(states=(JobState.QUEUED,)), limit=3)
    await ledger.cancel_many(first.ids)
    await ledger.create("new", spec("/new"))
    rest = await listing.page(JobFilter(states=(JobState.QUEUED,)), cursor=first.cursor, limit=50)
    assert sorted([*first.ids, *rest.ids]) == [f"j{n}" for n in range(9)]


@pytest.mark.parametrize("cursor", ["", "x", "1", "-a", "1-", "1-a b", "9" * 20 + "-a", "1-a\n", "+inf-a"])
async def test_a_foreign_cursor_is_refused(listing: JobListing, cursor: str) -> None:
    with pytest.raises(BadJob, match="cursor"):
        await listing.page(JobFilter(), cursor=cursor)


async def test_jobs_of_an_earlier_version_are_listed_after_the_correction(
    ledger: Ledger, listing: JobListing, raw: redis.Redis
) -> None:
    await ledger.create_many([(f"j{n}", spec(f"/{n}")) for n in range(5)])
    raw.delete("stt:listing", "stt:listing:queued")  # an earlier version created them,
    for n in range(4):
        raw.hdel(f"stt:job:j{n}", "listed")
    raw.hset("stt:job:j4", "state", "done")  # and ended this one
    assert await every_id(listing, JobFilter(), 10) == []
    assert await listing.correct_all() == 5
    assert await in_state(listing, JobState.DONE) == ["j4"]
    assert sorted(await in_state(listing, JobState.QUEUED)) == ["j0", "j1", "j2", "j3"]
    assert await listing.correct_all() == 0


async def test_entries_of_expired_jobs_are_removed(ledger: Ledger, listing: JobListing, raw: redis.Redis) -> None:
    await ledger.create_many([(f"j{n}", spec(f"/{n}")) for n in range(5)])
    raw.delete("stt:job:j1", "stt:job:j3")
    assert await listing.prune() == 2
    assert sorted(await every_id(listing, JobFilter(), 10)) == ["j0", "j2", "j4"]
    assert await listing.prune() == 0


@pytest.mark.bench
async def test_100000_jobs_are_searched_within_200_ms(listing: JobListing, raw: redis.Redis) -> None:
    pipeline = raw.pipeline(transaction=False)
    for n in range(100_000):
        state, member = ("done", "failed", "queued")[n % 3], f"{n:024x}\nbatch-{n % 50}\n\ncall-{n}.wav"
        for key in ("stt:listing", f"stt:listing:{state}"):
            pipeline.zadd(key, {member: 1_700_000_000_000 + n // 20})
        if n % 5000 == 4999:
            pipeline.execute()
    for wanted in (
        JobFilter(),
        JobFilter(states=(JobState.FAILED,)),
        JobFilter(name="nowhere"),
        JobFilter(states=(JobState.DONE, JobState.FAILED), batch="batch-7", name="call-1"),
        JobFilter(batch="no such batch"),
    ):
        took_s = []
        for _ in range(5):
            started = time.perf_counter()
            await listing.page(wanted, limit=50)
            took_s.append(time.perf_counter() - started)
        assert min(took_s) < 0.2, (wanted, took_s)
