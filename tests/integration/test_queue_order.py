"""The order of the queue, which does not depend on the order of the messages."""

from __future__ import annotations

import json

import redis

from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger, Refusal


def spec(priority: str = "normal") -> str:
    return json.dumps({"source": "/audio/a.wav", "priority": priority})


async def many(ledger: Ledger, batch: str, count: int, priority: str = "normal") -> None:
    await ledger.create_many([(f"{batch}{n:05}", spec(priority)) for n in range(count)], batch=batch)


_calls = iter(range(10**9))


async def next_one(ledger: Ledger) -> Lease:
    lease = await ledger.acquire_next("nobody", f"w{next(_calls)}")
    assert isinstance(lease, Lease), lease
    return lease


async def taken(ledger: Ledger, count: int) -> list[str]:
    return [(await next_one(ledger)).job_id for _ in range(count)]


async def test_jobs_of_one_batch_are_processed_in_order(ledger: Ledger) -> None:
    await many(ledger, "a", 5)
    assert await taken(ledger, 5) == [f"a{n:05}" for n in range(5)]
    assert await ledger.acquire_next("nobody", "w") is Refusal.MISSING


async def test_a_single_job_is_next_after_ten_thousand_of_a_batch(ledger: Ledger) -> None:
    await many(ledger, "a", 10_000)
    await taken(ledger, 20)
    await ledger.create("single", spec())
    assert "single" in await taken(ledger, 2)


async def test_batches_are_served_round_robin(ledger: Ledger) -> None:
    await many(ledger, "a", 1000)
    await taken(ledger, 30)
    await many(ledger, "b", 1000)
    await many(ledger, "c", 20)
    found = await taken(ledger, 90)
    assert [sum(one.startswith(name) for one in found) for name in "abc"] == [35, 35, 20]
    for name in "abc":
        mine = [one for one in found if one.startswith(name)]
        assert mine == sorted(mine), "in its own order"


async def test_jobs_without_a_batch_count_as_one_batch(ledger: Ledger) -> None:
    for n in range(20):
        await ledger.create(f"s{n:02}", spec())
    await many(ledger, "b", 20)
    found = await taken(ledger, 20)
    assert [one for one in found if one.startswith("s")] == [f"s{n:02}" for n in range(10)]


async def test_high_priority_comes_before_normal_before_low(ledger: Ledger) -> None:
    await many(ledger, "low", 3, "low")
    await many(ledger, "normal", 3)
    await many(ledger, "high", 3, "high")
    assert [one.rstrip("0123456789") for one in await taken(ledger, 9)] == ["high"] * 3 + ["normal"] * 3 + ["low"] * 3


async def test_jobs_that_have_begun_come_first(ledger: Ledger) -> None:
    await many(ledger, "a", 1000)
    begun = await next_one(ledger)
    await begun.release()
    await ledger.create("single", spec())
    await ledger.create("urgent", spec("high"))
    assert await taken(ledger, 2) == ["urgent", begun.job_id]


async def test_a_cancelled_batch_is_not_penalised_later(ledger: Ledger) -> None:
    await many(ledger, "a", 500)
    await ledger.cancel_many([f"a{n:05}" for n in range(500)])
    await many(ledger, "b", 500)
    await ledger.create("a-later", spec(), batch="a")
    assert "a-later" in await taken(ledger, 2)


async def test_the_state_of_finished_batches_is_removed(ledger: Ledger, raw: redis.Redis) -> None:
    for n in range(50):
        await many(ledger, f"batch{n}-", 2)
    assert raw.hlen("stt:queue:turns") == 100
    leases = [await next_one(ledger) for _ in range(100)]
    assert raw.hgetall("stt:queue:turns") == {"served 1": "2"}
    assert len({lease.job_id for lease in leases}) == 100


async def test_a_repeated_request_gets_the_same_job(ledger: Ledger, raw: redis.Redis) -> None:
    await many(ledger, "a", 5)
    first, again = await ledger.acquire_next("x", "w"), await ledger.acquire_next("x", "w")
    assert isinstance(first, Lease)
    assert isinstance(again, Lease)
    assert first.job_id == again.job_id
    assert raw.zcard("stt:leases") == 1
    assert all(raw.ttl(key) > 0 for key in raw.scan_iter("stt:*"))


async def test_expired_jobs_do_not_block_the_queue(ledger: Ledger, raw: redis.Redis) -> None:
    await many(ledger, "a", 5)
    raw.delete("stt:job:a00000", "stt:job:a00001")
    assert await taken(ledger, 3) == ["a00002", "a00003", "a00004"]
    assert raw.zcard("stt:queue") == 0


async def test_a_job_in_no_set_is_queued_when_it_is_submitted_again(ledger: Ledger, raw: redis.Redis) -> None:
    await many(ledger, "a", 3)
    held = await next_one(ledger)
    await ledger.clear_queue("stt")
    assert await ledger.acquire_next("nobody", "w") is Refusal.MISSING
    await ledger.create("a00002", spec(), batch="a")
    assert await taken(ledger, 1) == ["a00002"]
    # A new run requeues the job of a killed run before it submits the job again.
    await ledger.requeue(held.job_id)
    await ledger.create(held.job_id, spec(), batch="a")
    assert await taken(ledger, 1) == [held.job_id]
    # A paused job is not queued.
    await ledger.pause(["a00001"])
    await ledger.create("a00001", spec(), batch="a")
    assert raw.zcard("stt:queue") == 0
