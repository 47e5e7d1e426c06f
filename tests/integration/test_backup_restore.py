"""The procedure of docs/guides/operator.md, "Back up and restore", with a real Valkey and jobs in every state."""

from __future__ import annotations

import shutil
from pathlib import Path

import redis

from tests.support import readme
from tests.support.readme import code_blocks, shell_commands
from tests.support.redis_server import Valkey
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import wait_until
from worker.ledger.connection import RedisConnection
from worker.ledger.consistency import LedgerCheck, Problem
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import Settings, load

HERE = f"tests/integration/{Path(__file__).name}"
SPEC = '{"source": "/audio/a.wav", "webhook": "https://hooks.example/a"}'


def client(server: Valkey) -> redis.Redis:
    return redis.Redis.from_url(server.url, decode_responses=True)


def settings_of(server: Valkey) -> Settings:
    return load({}, redis_url=server.url, reap_interval_s=0.1)


async def problems(settings: Settings) -> list[Problem]:
    connection = RedisConnection(settings.redis_url)
    try:
        return [one async for one in LedgerCheck(settings, connection).problems()]
    finally:
        await connection.close()


async def acquired(ledger: Ledger, job_id: str) -> Lease:
    lease = await ledger.acquire(job_id, f"worker-{job_id}")
    assert isinstance(lease, Lease)
    return lease


async def work_before_and_after_the_backup(server: Valkey) -> None:
    ledger = Ledger(settings_of(server))
    for name in ("done", "running", "queued", "delayed", "paused"):
        await ledger.create(name, SPEC, batch="b")
    await (await acquired(ledger, "done")).finish(a_transcript("done"), ["/out/done.json"])
    await (await acquired(ledger, "delayed")).postpone(1000, "x", "later")
    await ledger.pause(["paused"])
    running = await acquired(ledger, "running")
    await running.commit(a_segment("one"))
    back_up(server)
    await running.commit(a_segment("two"))
    await running.finish(a_transcript("running"), ["/out/running.json"])
    await ledger.create("late", SPEC)
    await ledger.close()


def back_up(server: Valkey) -> None:
    (block,) = (one for one in code_blocks(readme.SITE / "guides" / "operator.md") if one.reason == HERE)
    with client(server) as raw:
        for command in shell_commands(block.code):
            assert command[0] == "redis-cli"
            raw.execute_command(*command[1:])
        wait_until(lambda: not raw.info("persistence")["rdb_bgsave_in_progress"], "the snapshot is written")
        assert raw.info("persistence")["rdb_last_bgsave_status"] == "ok"


async def test_jobs_of_a_restored_backup_continue(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    lost = Valkey(tmp_path / "before")
    try:
        await work_before_and_after_the_backup(lost)
    finally:
        lost.kill()
    shutil.copy(tmp_path / "before" / "dump.rdb", tmp_path / "after")
    restored = Valkey(tmp_path / "after", appendonly="no")
    try:
        with client(restored) as raw:
            raw.config_set("appendonly", "yes")
            wait_until(lambda: not raw.info("persistence")["aof_rewrite_in_progress"], "the file is written")
        restored.appendonly = "yes"
        restored.restart()
        assert await problems(settings_of(restored)) == []
        await all_jobs_end(restored)
    finally:
        restored.kill()


async def all_jobs_end(server: Valkey) -> None:
    ledger, names = Ledger(settings_of(server)), ["done", "running", "queued", "delayed", "paused", "late"]
    records = await ledger.get_many(names)
    assert [record and record.state.value for record in records] == [
        *("done", "running", "queued", "queued", "queued"),
        None,
    ]
    assert await ledger.transcript("done") is not None
    with client(server) as raw:
        raw.hset("stt:job:running", "lease", "1")  # the lease of the time of the backup has expired
        raw.zadd("stt:leases", {"running": 1})
        raw.zadd("stt:delayed", {"delayed": 1})
    await ledger.pause(["paused"], on=False)
    found = await ledger.reap("stt", tries=5, delay_s=1)
    assert set(found.expired) == {"running"}
    commits = {}
    for _ in range(4):
        lease = await ledger.acquire_next("none", f"worker-{len(commits)}-after")
        assert isinstance(lease, Lease)
        commits[lease.job_id] = lease.commits
        await lease.finish(a_transcript(lease.job_id), [])
    assert commits == {"running": 1, "queued": 0, "delayed": 0, "paused": 0}
    assert (await ledger.create("late", SPEC)).state is JobState.QUEUED
    await ledger.close()
    assert await problems(settings_of(server)) == []


def test_an_append_only_server_ignores_a_snapshot(tmp_path: Path) -> None:
    """The reason for the order of the steps; if this fails, the page can become shorter."""
    server = Valkey(tmp_path, appendonly="no")
    try:
        with client(server) as raw:
            raw.set("a", "1")
            raw.save()
        server.kill()
        server.appendonly = "yes"
        server.start()
        with client(server) as raw:
            assert raw.get("a") is None
    finally:
        server.kill()
