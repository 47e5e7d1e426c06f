"""The workers that announce themselves in Redis, and the throughput of all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis

from tasks import submit
from tests.support.fleet import Fleet
from tests.support.wait import wait_until
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.ledger.worker_registry import LOST_S, WorkerFacts, WorkerRegistry
from worker.version import installed_version

FACTS = WorkerFacts("b:1", "b", 1, "1.2", 1000.5, 3, 8, 2, "abc")


@pytest.fixture
async def registry(redis_url: str) -> AsyncIterator[WorkerRegistry]:
    connection = RedisConnection(redis_url)
    yield WorkerRegistry(connection, Keys("stt:"))
    await connection.close()


async def test_heartbeats_show_the_workers_and_the_sums_of_all(registry: WorkerRegistry, raw: redis.Redis) -> None:
    await registry.beat(FACTS, {"audio_s": 1.5, "done": 1})
    await registry.beat(replace(FACTS, id="a:2", host="a", pid=2), {"audio_s": 2.25, "failed": 1})
    await registry.beat(replace(FACTS, sessions=4), {"audio_s": 0})
    seen = await registry.workers()
    assert [one.facts.id for one in seen] == ["a:2", "b:1"]
    assert seen[1].facts == replace(FACTS, sessions=4)
    assert not seen[1].lost
    _, minutes = await registry.activity(60)
    assert len(minutes) == 60
    assert {name: sum(one[name] for one in minutes[-2:]) for name in ("audio_s", "done", "failed", "took_s")} == {
        "audio_s": 3.75, "done": 1, "failed": 1, "took_s": 0
    }  # fmt: skip
    assert all(raw.ttl(key) > 0 for key in raw.keys("stt:*"))


async def test_a_worker_without_heartbeats_is_lost(registry: WorkerRegistry, raw: redis.Redis) -> None:
    await registry.beat(FACTS, {})
    raw.zincrby("stt:workers", -1000 * (LOST_S + 1), "b:1")
    (seen,) = await registry.workers()
    assert seen.lost
    assert seen.age_s == pytest.approx(LOST_S + 1, abs=5)
    await registry.leave("b:1")
    assert await registry.workers() == []


@pytest.mark.parametrize("wrong", ["text", {"pid": "x"}, {}, {"id": "b:1", "pid": ""}])
async def test_entries_of_another_program_are_skipped(
    registry: WorkerRegistry, raw: redis.Redis, wrong: object
) -> None:
    await registry.beat(replace(FACTS, id="a:2"), {})
    raw.zadd("stt:workers", {"b:1": 99e12})
    if isinstance(wrong, str):
        raw.set("stt:worker:b:1", wrong)
    elif isinstance(wrong, dict) and wrong:
        raw.hset("stt:worker:b:1", mapping=wrong)
    assert [one.facts.id for one in await registry.workers()] == ["a:2"]


def test_a_worker_announces_itself_and_leaves(fleet: Fleet) -> None:
    source, _ = fleet.audio("a", 2.0)
    worker = fleet.start(sessions=3)
    with fleet.raw as raw:
        wait_until(lambda: raw.zcard("stt:workers") == 1, "the worker announces itself", timeout_s=60)
        (worker_id,) = raw.zrange("stt:workers", 0, -1)
        entry = raw.hgetall(f"stt:worker:{worker_id}")
        assert (entry["version"], entry["max_sessions"]) == (installed_version(), "3")
        submit(source, settings=fleet.settings, idempotency_key="a", speed="max")
        fleet.until_ended("a")
        keys = "stt:activity:*"
        wait_until(
            lambda: sum(float(raw.hget(key, "done") or 0) for key in raw.keys(keys)) == 1, "it counts", timeout_s=60
        )
        assert sum(float(raw.hget(key, "audio_s") or 0) for key in raw.keys(keys)) > 0
        worker.end()
        assert raw.zcard("stt:workers") == 0
