"""`stt-batch ledger check`: each violated invariant is named and repaired, and a sound ledger has no problems."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
import redis

from tests.support.command_line import Cli, cli
from tests.support.samples_of import a_segment, a_transcript
from worker.ledger.connection import RedisConnection
from worker.ledger.consistency import LedgerCheck, Problem
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import Settings, load

__all__ = ["cli"]  # a fixture
SPEC = '{"source": "/audio/a.wav", "webhook": "https://hooks.example/a"}'
Damage = Callable[[redis.Redis], object]


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url, result_ttl=timedelta(hours=1))


@pytest.fixture
async def sound(ledger: Ledger, raw: redis.Redis) -> redis.Redis:
    """A Redis with a job in each state: queued, delayed, paused, running (with two commits), done and failed."""
    for name in ("queued", "delayed", "paused", "running", "done", "failed"):
        await ledger.create(name, SPEC, batch="b")
    for name in ("delayed", "running", "done", "failed"):
        lease = await ledger.acquire(name, f"worker-{name}")
        assert isinstance(lease, Lease)
        if name == "running":
            await lease.commit(a_segment("one"))
            await lease.commit(a_segment("two"))
        elif name == "delayed":
            await lease.postpone(1000, "x", "later")
        elif name == "done":
            await lease.finish(a_transcript("done"), [])
        else:
            await lease.fail("source_damaged", "no audio")
    await ledger.pause(["paused"])
    return raw


async def problems(settings: Settings, *, fix: bool = False) -> list[Problem]:
    connection = RedisConnection(settings.redis_url)
    try:
        return [problem async for problem in LedgerCheck(settings, connection, fix=fix).problems()]
    finally:
        await connection.close()


async def test_a_sound_ledger_has_no_problems(settings: Settings, sound: redis.Redis) -> None:
    assert await problems(settings) == []
    assert await problems(settings, fix=True) == []
    assert sound.zrange("stt:paused", 0, -1) == ["paused"]


REPAIRED: dict[str, tuple[str, str, Damage]] = {
    "a queued job in no list": ("state", "queued", lambda r: r.zrem("stt:queue", "queued")),
    "a queued job in two lists": ("state", "queued", lambda r: r.zadd("stt:delayed", {"queued": 9e15})),
    "a queued job with a lease": ("state", "queued", lambda r: r.zadd("stt:leases", {"queued": 9e15})),
    "a queued job with an owner": ("state", "queued", lambda r: r.hset("stt:job:queued", "owner", "w")),
    "a delayed job in no list": ("state", "delayed", lambda r: r.zrem("stt:delayed", "delayed")),
    "a paused job in the queue": ("state", "paused", lambda r: r.zadd("stt:queue", {"paused": 1})),
    "a paused job in no list": ("state", "paused", lambda r: r.zrem("stt:paused", "paused")),
    "a job listed as paused": ("state", "queued", lambda r: r.zadd("stt:paused", {"queued": 1})),
    "a running job without a lease": ("state", "running", lambda r: r.zrem("stt:leases", "running")),
    "a running job in the queue": ("state", "running", lambda r: r.zadd("stt:queue", {"running": 1})),
    "a running job without an owner": ("state", "running", lambda r: r.hset("stt:job:running", "owner", "")),
    "a running job that is paused": ("state", "running", lambda r: r.hset("stt:job:running", "paused", "1")),
    "a lease of another length": ("state", "running", lambda r: r.hset("stt:job:running", "lease", "5")),
    "an ended job in the queue": ("state", "done", lambda r: r.zadd("stt:queue", {"done": 1})),
    "an ended job with a lease": ("state", "failed", lambda r: r.zadd("stt:leases", {"failed": 1})),
    "an ended job without an end": ("state", "failed", lambda r: r.hdel("stt:job:failed", "ended")),
    "more commits than counted": ("commits", "running", lambda r: r.hset("stt:job:running", "commits", "1")),
    "fewer commits than counted": (
        "commits",
        "running",
        lambda r: r.xtrim("stt:job:running:commits", 1, approximate=False),
    ),
    "all commits are lost": ("commits", "running", lambda r: r.delete("stt:job:running:commits")),
    "a number that is not one": ("commits", "running", lambda r: r.hset("stt:job:running", "commits", "x")),
    "no record in the queue": ("no_record", "queued", lambda r: r.delete("stt:job:queued")),
    "no record of a lease": (
        "no_record",
        "running",
        lambda r: r.delete("stt:job:running", "stt:job:running:commits"),
    ),
    "commits without a record": ("orphan", "running", lambda r: (r.delete("stt:job:running"), r.delete("stt:leases"))),
    "a transcript without a record": ("orphan", "done", lambda r: r.delete("stt:job:done")),
    "a record without an expiry": ("no_expiry", "done", lambda r: r.persist("stt:job:done")),
    "commits without an expiry": ("no_expiry", "running", lambda r: r.persist("stt:job:running:commits")),
    "a shared key without an expiry": ("no_expiry", "stt:queue", lambda r: r.persist("stt:queue")),
    "a batch without an expiry": ("no_expiry", "stt:batch:b:jobs", lambda r: r.persist("stt:batch:b:jobs")),
    "commits that expire first": ("expires_early", "running", lambda r: r.expire("stt:job:running:commits", 60)),
    "a wrong count of a batch": ("turns", "queue:turns", lambda r: r.hset("stt:queue:turns", "left 1 b", 9)),
    "a count of an absent batch": ("turns", "queue:turns", lambda r: r.hset("stt:queue:turns", "left 1 gone", 1)),
    "a lost count": ("turns", "queue:turns", lambda r: r.hdel("stt:queue:turns", "left 1 b")),
    "an unlisted webhook": ("unlisted_message", "", lambda r: r.zpopmin("stt:webhooks")),
    "a listed webhook without content": ("no_message", "", lambda r: r.delete(*r.keys("stt:webhook:*")[:1])),
}


@pytest.mark.parametrize("name", REPAIRED)
async def test_each_difference_is_named_and_repaired(settings: Settings, sound: redis.Redis, name: str) -> None:
    code, subject, damage = REPAIRED[name]
    damage(sound)
    found = await problems(settings)
    assert code in {one.code for one in found}
    assert all(subject in one.subject and not one.repaired for one in found if one.code == code)
    assert all(one.repaired for one in await problems(settings, fix=True))
    assert await problems(settings) == []


async def test_every_repaired_job_ends(ledger: Ledger, settings: Settings, sound: redis.Redis) -> None:
    """Several damages at once, as a restore from an old copy makes them."""
    sound.delete("stt:queue", "stt:leases", "stt:delayed", "stt:paused", "stt:queue:turns")
    await problems(settings, fix=True)
    await ledger.pause(["paused"], on=False)
    for number in range(6):
        found = await ledger.acquire_next("none", f"w{number}")
        if isinstance(found, Lease):
            await found.finish(a_transcript(found.job_id), [])
    records = await ledger.get_many(["queued", "delayed", "paused", "running"])
    assert [record and record.state for record in records] == [JobState.DONE] * 4


async def test_a_job_with_lost_text_starts_over_and_its_worker_is_refused(
    ledger: Ledger, settings: Settings, sound: redis.Redis
) -> None:
    sound.xtrim("stt:job:running:commits", 1, approximate=False)
    before = await ledger.get("running")
    await problems(settings, fix=True)
    record = await ledger.get("running")
    assert before is not None
    assert record is not None
    assert (record.state, record.commits, record.epoch) == (JobState.QUEUED, 0, before.epoch + 1)
    assert [entry async for entry in ledger.commits("running")] == []


@pytest.mark.parametrize(
    ("code", "damage"),
    [
        ("wrong_type", lambda r: (r.delete("stt:job:queued"), r.set("stt:job:queued", "x", ex=60))),
        ("wrong_type", lambda r: (r.delete("stt:queue"), r.set("stt:queue", "x", ex=60))),
        ("wrong_type", lambda r: r.set("stt:job:queued:commits", "x", ex=60)),
        ("unknown_state", lambda r: r.hset("stt:job:queued", "state", "archived")),
        ("no_transcript", lambda r: r.delete("stt:job:done:transcript")),
    ],
)
async def test_what_cannot_be_repaired_remains(
    settings: Settings, sound: redis.Redis, code: str, damage: Damage
) -> None:
    damage(sound)
    found = await problems(settings, fix=True)
    assert [one.repaired for one in found if one.code == code] == [False]
    assert code in {one.code for one in await problems(settings)}


async def test_other_prefixes_are_not_touched(ledger: Ledger, settings: Settings, raw: redis.Redis) -> None:
    raw.set("other:job:a", "x")
    raw.set("st?:job:a", "x")
    await ledger.create("a", SPEC)
    marked = settings.model_copy(update={"redis_prefix": "st?:"})
    assert {one.subject for one in await problems(marked)} == {"a"}, "a prefix is no pattern"
    assert await problems(settings, fix=True) == []
    assert raw.ttl("other:job:a") == -1


def test_the_command_names_problems_and_repairs_them(cli: Cli, redis_url: str, raw: redis.Redis) -> None:
    raw.hset("stt:job:a", mapping={"state": "queued", "spec": SPEC, "commits": "0", "epoch": "1"})
    done = cli.run("ledger", "check", STT_REDIS_URL=redis_url)
    assert done.returncode == 1
    assert "a: its record and the lists of jobs differ (queued, but it is in no list)" in done.stdout
    assert "1 key below stt: checked: 2 problems; repair with: stt-batch ledger check --fix" in done.stdout
    document = json.loads(cli.run("ledger", "check", "--fix", "--json", STT_REDIS_URL=redis_url).stdout)
    assert (document["ok"], document["found"], document["remaining"]) == (True, 2, 0)
    done = cli.run("ledger", "check", STT_REDIS_URL=redis_url)
    assert (done.returncode, done.stdout) == (0, "3 keys below stt: checked: no problems\n")


def test_a_ledger_of_a_newer_version_is_not_checked(cli: Cli, redis_url: str, raw: redis.Redis) -> None:
    raw.hset("stt:schema", mapping={"version": "9", "reader": "9"})
    done = cli.run("ledger", "check", "--fix", STT_REDIS_URL=redis_url)
    assert done.returncode != 0
    assert "install a newer stt-batch" in done.stderr
