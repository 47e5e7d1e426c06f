"""What a failover of Redis can lose: acquisitions and commits that no replica had. Each loss is made by hand here."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.support.redis_topologies import sentinel_fleet
from tests.support.samples_of import a_segment, a_transcript
from worker.errors import LeaseLost, LedgerUnavailable
from worker.ledger import connection as ledger_connection
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.ledger.records import JobState
from worker.settings import load
from worker.transcript.model import Segment

SPEC = '{"source": "/a.wav"}'


async def acquired(ledger: Ledger, owner: str) -> Lease:
    lease = await ledger.acquire("a", owner)
    assert isinstance(lease, Lease)
    return lease


def words(raw: redis.Redis) -> list[str]:
    return [Segment.model_validate_json(entry["segment"]).text for _, entry in raw.xrange("stt:job:a:commits")]


def lose_commits(raw: redis.Redis, kept: int) -> None:
    for entry, _ in raw.xrange("stt:job:a:commits")[kept:]:
        raw.xdel("stt:job:a:commits", entry)
    raw.hset("stt:job:a", "commits", kept)


@pytest.mark.parametrize(
    "write", ["commit", "finish", "fail", "renew", "release", "postpone", "store_transcript", "note"]
)
async def test_two_owners_with_the_same_epoch_cannot_both_write(ledger: Ledger, raw: redis.Redis, write: str) -> None:
    await ledger.create("a", SPEC)
    before = raw.dump("stt:job:a"), raw.dump("stt:queue")
    first = await acquired(ledger, "one")
    raw.delete("stt:leases")
    for key, value in zip(("stt:job:a", "stt:queue"), before, strict=True):
        raw.restore(key, 100_000, value, replace=True)
    second = await acquired(ledger, "two")
    assert first.epoch == second.epoch

    def attempt(lease: Lease) -> object:
        if write == "note":
            return ledger.write_progress([lease])
        calls = {
            "commit": lambda: lease.commit(a_segment("word", 0, 1)),
            "finish": lambda: lease.finish(a_transcript("a"), ()),
            "fail": lambda: lease.fail("x", "y"),
            "postpone": lambda: lease.postpone(1),
            "store_transcript": lambda: lease.store_transcript(a_transcript("a")),
        }
        return calls[write]() if write in calls else getattr(lease, write)()

    if write == "note":
        assert await attempt(first) == [first]  # type: ignore[misc]
        assert await attempt(second) == []  # type: ignore[misc]
        return
    with pytest.raises(LeaseLost):
        await attempt(first)  # type: ignore[misc]
    await attempt(second)  # type: ignore[misc]
    with pytest.raises(LeaseLost):
        await attempt(first)  # type: ignore[misc]
    assert len(words(raw)) == (1 if write == "commit" else 0)


async def test_the_worker_writes_lost_commits_again(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    lease = await acquired(ledger, "one")
    for number in range(4):
        await lease.commit(a_segment(f"word {number}", number, number + 1))
    lose_commits(raw, 1)
    await lease.commit(a_segment("word 4", 4, 5))
    assert words(raw) == [f"word {number}" for number in range(5)]
    lose_commits(raw, 2)
    await lease.finish(a_transcript("a"), ())
    assert words(raw) == [f"word {number}" for number in range(5)]
    record = await ledger.get("a")
    assert record is not None
    assert (record.state, record.commits) == (JobState.DONE, 5)


async def test_lost_commits_of_earlier_workers_are_transcribed_again(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create("a", SPEC)
    first = await acquired(ledger, "one")
    for number in range(3):
        await first.commit(a_segment(f"word {number}", number, number + 1))
    await first.release()
    second = await acquired(ledger, "two")
    assert second.commits == 3
    lose_commits(raw, 2)
    with pytest.raises(LeaseLost, match="a failover of Redis lost its commits after number 2"):
        await second.commit(a_segment("word 3", 3, 4))
    third = await acquired(ledger, "three")
    assert third.commits == 2, "the next attempt continues after the stored commits"
    assert words(raw) == ["word 0", "word 1"]


@pytest.mark.parametrize("step", ["create", "acquire", "commit", "finish"])
async def test_each_durable_step_needs_the_replicas(
    redis_url: str, ledger: Ledger, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a replica, each of the four steps fails; the other ones do not wait."""
    monkeypatch.setattr(ledger_connection, "REPLICAS_TIMEOUT_S", 0.0)
    monkeypatch.setattr(ledger_connection, "WAIT_MS", 10)
    strict = Ledger(load({}, redis_url=redis_url, redis_replicas=1))
    await ledger.create("a", SPEC)
    steps = {"create": lambda: strict.create("b", SPEC), "acquire": lambda: strict.acquire("a", "me")}
    if step not in steps:
        lease = await acquired(ledger, "me")
        lease._connection = strict._connection
        await lease.renew()
        steps["commit"] = lambda: lease.commit(a_segment("word", 0, 1))
        steps["finish"] = lambda: lease.finish(a_transcript("a"), ())
    with pytest.raises(LedgerUnavailable, match=r"only 0 of 1 replicas .* lower STT_REDIS_REPLICAS"):
        await steps[step]()
    await strict.close()


async def test_waiting_for_replicas_uses_up_no_attempts(
    redis_url: str, ledger: Ledger, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each repetition of the script once counted as an attempt, so a slow replica failed each job."""
    monkeypatch.setattr(ledger_connection, "REPLICAS_TIMEOUT_S", 0.3)
    monkeypatch.setattr(ledger_connection, "WAIT_MS", 10)
    strict = Ledger(load({}, redis_url=redis_url, redis_replicas=1))
    await ledger.create_many([("a", SPEC), ("b", SPEC)])
    for number in range(3):
        with pytest.raises(LedgerUnavailable, match="only 0 of 1 replicas"):
            await strict.acquire_next("a", f"owner {number}")
    assert raw.hmget("stt:job:a", "state", "attempts", "tries") == ["queued", "0", "0"]
    assert raw.hmget("stt:job:b", "state", "attempts", "tries") == ["queued", "0", "0"]
    await strict.close()


async def test_a_repeated_acquisition_is_the_same_lease(ledger: Ledger, raw: redis.Redis) -> None:
    await ledger.create_many([("a", SPEC), ("b", SPEC)])
    leases = [await ledger.acquire_next("a", "one") for _ in range(7)]
    raw.pexpire("stt:queue:answer:one", 1000)
    leases.append(await ledger.acquire_next("a", "one"))
    assert raw.pttl("stt:queue:answer:one") > 1000, "the answer exists as long as the lease"
    found = {(one.job_id, one.epoch, one.attempts, one.tries) for one in leases if isinstance(one, Lease)}
    assert len(found) == 1
    assert raw.hmget("stt:job:a", "attempts", "tries") == ["1", "1"]
    assert raw.hget("stt:job:b", "state") == "queued"
    await (await acquired(ledger, "one")).commit(a_segment("word", 0, 1))


async def test_a_failover_loses_nothing_that_replicas_have_confirmed(tmp_path: Path) -> None:
    with sentinel_fleet(tmp_path) as fleet:
        ledger = Ledger(load({}, redis_url=fleet.url, redis_replicas=1))
        await ledger.create("a", SPEC)
        lease = await acquired(ledger, "one")
        await lease.commit(a_segment("word 0", 0, 1))
        fleet.sentinels[0].kill()  # the first address of the URL: the next ones are asked
        fleet.sentinels.append(fleet.sentinels.pop(0))
        fleet.primary().kill()
        # The commands are repeated until the Sentinels have chosen the new primary.
        await lease.commit(a_segment("word 1", 1, 2))
        await ledger.create("b", SPEC)
        with fleet.primary().client() as raw:
            assert words(raw) == ["word 0", "word 1"]
        await lease.finish(a_transcript("a"), ())
        states = [record.state for record in await ledger.get_many(["a", "b"]) if record is not None]
        assert states == [JobState.DONE, JobState.QUEUED]
        await ledger.close()
