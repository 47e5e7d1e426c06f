"""The session limiter with a real Valkey: the limit despite kill -9, the queue, priorities, the rate of starts, and the
limit after busy reports."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.fleet import limit_of
from tests.support.wait import allowed_s, async_wait_until, wait_until
from worker.errors import LedgerUnavailable, SessionLost
from worker.ledger.connection import RedisConnection
from worker.ledger.session_limiter import FIRST_STARTS, FIRST_STARTS_PER_S, SessionLimiter
from worker.settings import Settings, load

ROOT = Path(__file__).parents[2]
LIMIT = 5
HOLDER = """
import asyncio, sys
from worker.ledger.session_limiter import SessionLimiter
from worker.settings import load
from worker.ledger.connection import RedisConnection
async def hold(limiter, name):
    async with limiter.slot(name):
        print("held", name, flush=True)
        await asyncio.sleep(600)
async def main():
    times = {"lease_s": 2, "lease_renew_s": 0.5, "reap_interval_s": 0.5}
    settings = load({}, redis_url=sys.argv[1], api_key_max_sessions=5, api_key="secret-key", **times)
    limiter = SessionLimiter(settings, RedisConnection(settings.redis_url))
    await asyncio.gather(*(hold(limiter, f"{sys.argv[2]}-{n}") for n in range(4)))
asyncio.run(main())
"""

Make = Callable[..., SessionLimiter]


@pytest.fixture
async def limiters(redis_url: str) -> AsyncIterator[Make]:
    """Creates limiters with their own connections, as in different worker processes."""
    made: list[tuple[SessionLimiter, RedisConnection]] = []

    def make(**changes: Any) -> SessionLimiter:
        connection = RedisConnection(redis_url)
        made.append((SessionLimiter(settings(redis_url, **changes), connection), connection))
        return made[-1][0]

    yield make
    for limiter, connection in made:
        await limiter.close()
        await connection.close()


@pytest.fixture
async def proven_key(limiters: Make, raw: redis.Redis) -> None:
    """Until a session with a key has succeeded, sessions start slowly; these tests begin after that."""
    await limiters().succeeded("earlier-job")
    await async_wait_until(lambda: any(raw.scan_iter("stt:governor:*:state")), "Redis knows the success")


def settings(redis_url: str, **changes: Any) -> Settings:
    return load(
        {},
        redis_url=redis_url,
        **{"lease_s": 2, "lease_renew_s": 0.5, "reap_interval_s": 0.5, "api_key": "secret-key", **changes},
    )


def slots(raw: redis.Redis) -> int:
    """Return the number of slots whose lease has not expired, by the clock of Redis."""
    seconds, micros = raw.time()
    return sum(
        raw.zcount(key, seconds * 1000 + micros // 1000, "+inf") for key in raw.scan_iter("stt:governor:*:slots")
    )


def job(raw: redis.Redis, name: str, **fields: str) -> str:
    raw.hset(f"stt:job:{name}", "spec", json.dumps({"source": "/a.wav", **fields}))
    return name


async def in_line(limiter: SessionLimiter, name: str, served: list[str], *, hold_s: float = 0) -> None:
    async with limiter.slot(name):
        served.append(name)
        await asyncio.sleep(hold_s)


def places(raw: redis.Redis) -> int:
    """Return the number of waiting sessions."""
    return sum(raw.zcard(key) for key in raw.scan_iter("stt:governor:*:waiting"))


async def waiting(raw: redis.Redis, count: int) -> None:
    await async_wait_until(lambda: places(raw) == count, f"{count} wait in line")


@pytest.mark.usefixtures("proven_key")
async def test_the_limit_holds_across_processes(limiters: Make, raw: redis.Redis) -> None:
    several = [limiters(api_key_max_sessions=LIMIT) for _ in range(3)]
    most, now, ended = 0, 0, 0

    async def session(number: int) -> None:
        nonlocal most, now, ended
        async with several[number % 3].slot(f"job-{number}"):
            now += 1
            most = max(most, now)
            assert slots(raw) <= LIMIT
            await asyncio.sleep(random.uniform(0, 0.02))
            now -= 1
            ended += 1

    async with asyncio.timeout(allowed_s(30)):
        await asyncio.gather(*(session(number) for number in range(60)))
    assert (ended, most) == (60, LIMIT)
    await async_wait_until(lambda: slots(raw) == 0, "all slots are released")


async def test_a_key_without_a_success_is_tried_by_few_sessions(limiters: Make, raw: redis.Redis) -> None:
    several = [limiters() for _ in range(3)]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(in_line(several[n % 3], f"job-{n}", [], hold_s=60)) for n in range(60)]
        await async_wait_until(lambda: slots(raw) >= FIRST_STARTS, "the first sessions start")
        started = time.monotonic()
        await async_wait_until(lambda: places(raw) + slots(raw) >= 60, "the others wait")
        assert slots(raw) <= FIRST_STARTS + 1 + (time.monotonic() - started + 2) * FIRST_STARTS_PER_S
        await several[0].succeeded("job-0")
        await async_wait_until(lambda: slots(raw) == 60, "after the success all start")
        for task in tasks:
            task.cancel()


@pytest.mark.usefixtures("proven_key")
@limit_of(8.0)
def test_slots_of_killed_workers_expire(redis_url: str, raw: redis.Redis, limit_s: float) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", HOLDER, redis_url, name], cwd=ROOT, stdout=subprocess.PIPE)

    def owners() -> set[str]:
        seconds, micros = raw.time()
        now = seconds * 1000 + micros // 1000
        return {
            token.split("-")[0]
            for key in raw.scan_iter("stt:governor:*:slots")
            for token in raw.zrangebyscore(key, now, "+inf")
        }

    holders = [start(name) for name in ("a", "b")]
    try:
        wait_until(lambda: slots(raw) == LIMIT and raw.zcard(one_key(raw, "waiting")) == 3, "5 hold, 3 wait")
        for holder in holders:
            holder.kill()
        killed = time.monotonic()
        holders.append(start("c"))

        def taken_over() -> bool:
            assert slots(raw) <= LIMIT
            return slots(raw) == 4 and owners() == {"c"}

        wait_until(taken_over, "the slots of the dead are free", timeout_s=60)
        assert time.monotonic() - killed < limit_s
    finally:
        for holder in holders:
            holder.kill()
            holder.wait(10)


def one_key(raw: redis.Redis, part: str) -> str:
    return next(iter(raw.scan_iter(f"stt:governor:*:{part}")), "none")


async def test_a_slot_is_renewed_while_its_session_runs(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters(api_key_max_sessions=1, lease_s=1, lease_renew_s=0.2)
    async with limiter.slot("a"):
        (key,) = raw.scan_iter("stt:governor:*:slots")
        ((_, first),) = raw.zrange(key, 0, -1, withscores=True)
        await async_wait_until(lambda: raw.zrange(key, 0, -1, withscores=True)[0][1] > first + 1000, "renewed for long")


@pytest.mark.usefixtures("proven_key")
async def test_a_single_job_does_not_wait_for_a_whole_batch(limiters: Make, raw: redis.Redis) -> None:
    limiter, other = limiters(api_key_max_sessions=1), limiters(api_key_max_sessions=1)
    served: list[str] = []
    async with asyncio.timeout(allowed_s(60)), asyncio.TaskGroup() as group, limiter.slot("first"):
        for number in range(40):
            group.create_task(in_line(limiter, job(raw, f"big-{number:02}", batch="big"), served))
        await waiting(raw, 40)
        group.create_task(in_line(other, job(raw, "single"), served))
        await waiting(raw, 41)
        for number in range(3):
            group.create_task(in_line(other, job(raw, f"small-{number}", batch="small"), served))
        await waiting(raw, 44)
    assert served.index("single") <= 1
    # Round-robin: the three sessions of the small batch run after at most three of the big one.
    assert served.index("small-2") <= 7
    assert [name for name in served if name.startswith("big")] == [f"big-{number:02}" for number in range(40)]


async def test_sessions_of_high_priority_come_first(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters(api_key_max_sessions=1)
    served: list[str] = []
    async with asyncio.timeout(allowed_s(30)), asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        await stack.enter_async_context(limiter.slot("first"))
        for number, priority in enumerate(["low", "low", "normal", "normal", "high", "high"]):
            group.create_task(in_line(limiter, job(raw, f"{priority}-{number}", priority=priority), served))
            await waiting(raw, number + 1)
        await stack.aclose()
    assert served == ["high-4", "high-5", "normal-2", "normal-3", "low-0", "low-1"]


async def test_a_worker_that_died_while_waiting_does_not_block_the_queue(
    limiters: Make, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.session_limiter.WAITING_TTL_S", 1.5)
    dead, alive = limiters(api_key_max_sessions=1), limiters(api_key_max_sessions=1)
    served: list[str] = []
    async with asyncio.TaskGroup() as group:
        async with alive.slot("first"):
            group.create_task(in_line(dead, job(raw, "dead", priority="high"), []))
            await waiting(raw, 1)
            assert dead._runner is not None
            dead._runner.cancel()
            group.create_task(in_line(alive, "alive", served))
            await waiting(raw, 2)
        await async_wait_until(lambda: served == ["alive"], "the living one is served", timeout_s=10)
        dead._wake()


@limit_of(6.0)
@pytest.mark.usefixtures("proven_key")
async def test_the_rate_of_session_starts_is_limited(limiters: Make, limit_s: float) -> None:
    limiter = limiters(api_key_max_starts_per_s=20)
    served: list[str] = []
    started = time.monotonic()
    async with asyncio.timeout(allowed_s(30)):
        await asyncio.gather(*(in_line(limiter, f"job-{number}", served) for number in range(50)))
    # 20 sessions start at once, and the other 30 at a rate of 20 per second.
    assert 1.4 < time.monotonic() - started < limit_s
    assert len(served) == 50


@pytest.mark.usefixtures("proven_key")
async def test_a_busy_service_lowers_the_limit_once_and_it_rises_again(
    limiters: Make, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.session_limiter.RISE_DELAY_S", 0.5)
    monkeypatch.setattr("worker.ledger.session_limiter.RISE_S", 4.0)
    limiter = limiters(api_key_max_sessions=20)
    async with asyncio.TaskGroup() as group:
        holders = [group.create_task(in_line(limiter, f"h-{n}", [], hold_s=60)) for n in range(20)]
        await async_wait_until(lambda: slots(raw) == 20, "20 hold")
        for _ in range(5):  # all sessions are refused at once, which counts as one report
            await limiter.busy()
            await asyncio.sleep(0.01)
        await async_wait_until(lambda: limiter.limit == 14, "the limit is 14", poll_s=0.001)
        for holder in holders[:8]:
            holder.cancel()
        # 12 slots are in use and the limit is about 14: not all of the 8 get a slot at once, but finally they do.
        group.create_task(_fill(limiter, group, 8))
        await async_wait_until(lambda: slots(raw) >= 14, "the free ones are used")
        await async_wait_until(lambda: limiter.limit == 20 and slots(raw) == 20, "the limit is back", timeout_s=15)
        for holder in holders:
            holder.cancel()
        for task in asyncio.all_tasks():
            if task.get_name() == "filler":
                task.cancel()


async def _fill(limiter: SessionLimiter, group: asyncio.TaskGroup, count: int) -> None:
    for number in range(count):
        group.create_task(in_line(limiter, f"f-{number}", [], hold_s=60), name="filler")


async def test_without_a_limit_a_busy_service_sets_one(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters()
    async with asyncio.TaskGroup() as group:
        holders = [group.create_task(in_line(limiter, f"h-{n}", [], hold_s=60)) for n in range(10)]
        await async_wait_until(lambda: slots(raw) == 10 and limiter.in_use == 10, "10 hold")
        assert limiter.limit is None
        await limiter.busy()
        await async_wait_until(lambda: limiter.limit == 7, "the limit is 7")
        for holder in holders:
            holder.cancel()


@pytest.mark.usefixtures("proven_key")
async def test_a_busy_report_lowers_the_limit_of_all_processes(limiters: Make, raw: redis.Redis) -> None:
    one, other = limiters(), limiters()
    async with asyncio.TaskGroup() as group:
        holders = [group.create_task(in_line(g, f"h-{n}", [], hold_s=60)) for n in range(5) for g in (one, other)]
        await async_wait_until(lambda: slots(raw) == 10, "10 hold")
        await one.busy()
        await async_wait_until(lambda: one.limit == 7, "the limit is 7")
        served: list[str] = []
        late = group.create_task(in_line(other, "late", served))
        await waiting(raw, 1)
        assert other.limit == 7
        for holder in holders[:3]:
            holder.cancel()
        await async_wait_until(lambda: slots(raw) == 7, "7 hold")
        await waiting(raw, 1)
        assert served == []
        holders[3].cancel()
        await late
        for holder in holders:
            holder.cancel()


async def test_a_cancelled_wait_leaves_the_queue(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters(api_key_max_sessions=1)
    async with limiter.slot("first"):
        tasks = [asyncio.create_task(in_line(limiter, f"w-{n}", [])) for n in range(10)]
        await waiting(raw, 10)
        for task in tasks:
            task.cancel()
        await waiting(raw, 0)
        assert slots(raw) == 1
    await async_wait_until(lambda: slots(raw) == 0, "the slot is released")


async def test_cancellation_at_any_moment_leaves_no_slot(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters(api_key_max_sessions=3)
    for number in range(60):
        task = asyncio.create_task(in_line(limiter, f"c-{number}", [], hold_s=60))
        await asyncio.sleep(random.uniform(0, 0.004))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await async_wait_until(lambda: slots(raw) == 0, "no slot is left")
    await async_wait_until(lambda: limiter._runner is not None and limiter._runner.done(), "nothing left to do")


async def test_a_session_ends_when_another_one_has_its_slot(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters(api_key_max_sessions=1)

    async def hold() -> None:
        async with asyncio.timeout(allowed_s(10)), limiter.slot("a"):
            (key,) = raw.scan_iter("stt:governor:*:slots")
            raw.delete(key)
            raw.zadd(key, {"another": 9e15})
            await asyncio.sleep(60)

    with pytest.raises(SessionLost, match="slot expired"):
        await hold()
    assert slots(raw) == 1


async def test_a_slot_that_redis_lost_is_acquired_again(limiters: Make, raw: redis.Redis) -> None:
    limiter = limiters(api_key_max_sessions=1)
    async with asyncio.timeout(allowed_s(10)), limiter.slot("a"):
        raw.flushall()
        await async_wait_until(lambda: slots(raw) == 1, "the slot is back")


@limit_of(2.0)
async def test_a_session_ends_when_redis_is_away_for_the_lifetime_of_its_slot(redis_url: str, limit_s: float) -> None:
    broken = False
    connection = RedisConnection(redis_url)

    class Scripts:
        async def script(self, *args: Any) -> Any:
            if broken:
                raise LedgerUnavailable("away")
            return await connection.script(*args)

    limiter = SessionLimiter(settings(redis_url, api_key_max_sessions=1, close_timeout_s=0.5), Scripts())
    started = 0.0

    async def hold() -> None:
        nonlocal broken, started
        async with limiter.slot("a"):
            broken, started = True, time.monotonic()
            await asyncio.sleep(60)

    with pytest.raises(SessionLost):
        await hold()
    assert 1.0 < time.monotonic() - started < limit_s, "the session ends before another one can get its slot"
    await limiter.close()
    await connection.close()


async def test_without_a_limit_an_outage_of_redis_ends_no_session(redis_url: str) -> None:
    class Scripts:
        asked = 0

        async def script(self, *args: Any) -> Any:
            self.asked += 1
            if self.asked > 1:
                raise LedgerUnavailable("away")
            return await connection.script(*args)

    connection, scripts = RedisConnection(redis_url), Scripts()
    limiter = SessionLimiter(settings(redis_url, close_timeout_s=0.5), scripts)
    async with limiter.slot("a"):
        started = time.monotonic()
        await async_wait_until(lambda: time.monotonic() - started > 2.5, "longer than a slot lives")
        assert scripts.asked > 2
    await limiter.close()
    await connection.close()


async def test_no_redis_key_contains_the_api_key_and_every_key_expires(limiters: Make, raw: redis.Redis) -> None:
    limiter, other = (
        limiters(api_key_max_sessions=1, api_key_max_starts_per_s=5),
        limiters(api_key_max_sessions=1, api_key="other"),
    )
    async with limiter.slot("a"), other.slot("a"):
        await limiter.busy()
        await async_wait_until(lambda: slots(raw) == 2, "each key has its own limit")
        names = list(raw.scan_iter("stt:governor:*"))
        assert len({name.split(":")[2] for name in names}) == 2
        for name in names:
            assert "secret" not in name
            assert 0 < raw.ttl(name) <= 86400


async def test_a_pause_of_the_service_concerns_all_processes(limiters: Make) -> None:
    first, other = limiters(), limiters()
    async with first.slot("a"):
        started = time.monotonic()
        await first.pause(1.0)
        await first.pause(0.1)  # a shorter pause does not end a longer one
        await async_wait_until(lambda: not first._unreported(), "Redis knows the pause")
    async with other.slot("b"):
        assert time.monotonic() - started >= 1.0
    async with other.slot("c"), first.slot("d"):
        assert time.monotonic() - started < allowed_s(20)


async def test_a_success_with_the_key_is_known_to_all_processes(limiters: Make, raw: redis.Redis) -> None:
    first, other, another_key = limiters(), limiters(), limiters(api_key="another")
    async with first.slot("a"):
        assert not first.key_accepted
        await first.succeeded("a")
    await async_wait_until(lambda: not first._unreported(), "Redis knows the success")
    async with other.slot("b"), another_key.slot("c"):
        assert other.key_accepted
        assert not another_key.key_accepted
