"""`stt-batch delete` and `--retain`: no seeded sentence of a job remains anywhere, and no other job is touched."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import redis

from tasks.client.producer import Producer, make_spec
from tasks.execution.job_reporter import JobReporter
from tests.support.command_line import Cli, cli
from tests.support.redis_server import Valkey
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import wait_until
from worker.errors import LeaseLost, LedgerUnavailable
from worker.ledger import persistence
from worker.ledger.connection import RedisConnection
from worker.ledger.consistency import LedgerCheck
from worker.ledger.event_stream import EventStream
from worker.ledger.lease import Lease
from worker.settings import Settings, load
from worker.storage.outputs.deliver import deliver

__all__ = ["cli"]  # a fixture
SEEDED = "The quick brown fox settles invoice 7741"
OTHER = "Another job that stays"


async def job_with_text(settings: Settings, folder: Path, name: str, text: str, *, end: bool = True) -> str:
    """Run a job that leaves the text in every place that a job writes to. Returns its id."""
    producer, connection = Producer(settings), RedisConnection(settings.redis_url)
    (folder / f"{name}.wav").write_bytes(f"RIFF {name}".encode())
    spec = make_spec(
        folder / f"{name}.wav",
        out_dir=folder / "out",
        formats=("json", "txt"),
        batch="calls",
        webhook="https://hooks.example/x",
        glossary=((text.split(maxsplit=1)[0], text),),
    )
    created = await producer.submit(spec)
    lease = await producer.ledger.acquire(created.job_id, f"worker-{name}")
    assert isinstance(lease, Lease)
    events = EventStream(settings, connection)
    reporter = JobReporter(lease, events)
    segment = a_segment(text)
    await lease.commit(segment)
    reporter.committed(segment)
    await producer.ledger.dead_letters.add(f"{lease.job_id} {text}".encode(), "stt", text, lease.job_id)
    await producer.ledger.claim_output(f"{text}.json", lease.job_id)
    if end:
        transcript = a_transcript(lease.job_id, (segment,))
        files = await deliver(transcript, spec.out_dirs, name, spec.formats, settings)
        await reporter.finish(transcript, files)
    await events.publish("progress", lease.job_id, partial=text)
    await connection.close()
    await producer.close()
    return created.job_id


def found_in(raw: redis.Redis, folder: Path, text: str) -> list[str]:
    """Return the names of all keys and files that contain the text."""
    keys = [key for key in raw.scan_iter("*") if text in repr(_value(raw, key)) or text in key]
    files = [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]
    return keys + [str(path.relative_to(folder)) for path in files]


def _value(raw: redis.Redis, key: str) -> object:
    readers = {"hash": raw.hgetall, "string": raw.get, "set": raw.smembers, "stream": raw.xrange}
    kind = raw.type(key)
    return (
        raw.zrange(key, 0, -1) if kind == "zset" else raw.lrange(key, 0, -1) if kind == "list" else readers[kind](key)
    )


def test_no_seeded_sentence_remains(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    server = Valkey(tmp_path / "redis")
    try:
        settings = load({}, redis_url=server.url)
        with redis.Redis.from_url(server.url, decode_responses=True) as raw:
            raw.config_set("rdbcompression", "no")  # so that the files can be searched
            job = asyncio.run(job_with_text(settings, tmp_path, "a", SEEDED))
            asyncio.run(job_with_text(settings, tmp_path, "b", OTHER))
            raw.bgsave()
            wait_until(lambda: not raw.info("persistence")["rdb_bgsave_in_progress"], "a snapshot exists")
            before = found_in(raw, tmp_path, SEEDED)
            places = {place.rpartition("/")[0] or place for place in before}
            assert {"out", "redis", "redis/appendonlydir", "stt:events", "stt:dead-letters"} <= places
            assert {f"stt:job:{job}", f"stt:job:{job}:commits", f"stt:job:{job}:transcript"} <= set(before)

            known = {"STT_REDIS_URL": server.url}
            done = cli.run("delete", job, "--outputs", "--rewrite", "--yes", **known)
            assert done.stdout.endswith("1 job, 2 files deleted\n"), done.stderr
            wait_until(lambda: not found_in(raw, tmp_path, SEEDED), "the old files are removed", timeout_s=30)
            assert not found_in(raw, tmp_path, job)
            assert found_in(raw, tmp_path, OTHER), "the other job stays"
            assert cli.json("status", "calls", **known)["total"] == 1
            assert cli.run("ledger", "check", **known).returncode == 0
            assert cli.run("delete", "calls", "--yes", **known).stdout.endswith("1 job deleted\n")
            assert not [key for key in raw.scan_iter("*") if "calls" in key or "calls" in repr(_value(raw, key))]
            assert (tmp_path / "out" / "b.json").exists(), "without --outputs, files stay"
            assert (tmp_path / "a.wav").exists(), "sources are never deleted"
    finally:
        server.kill()


@pytest.mark.parametrize("state", ["queued", "paused", "delayed", "running"])
async def test_a_job_can_be_deleted_in_any_state(cli: Cli, redis_url: str, raw: redis.Redis, state: str) -> None:
    settings = load({}, redis_url=redis_url)
    producer = Producer(settings)
    await producer.ledger.create("a", '{"source": "/audio/a.wav"}', batch="b")
    lease: object = None
    if state == "paused":
        await producer.ledger.pause(["a"])
    elif state != "queued":
        lease = await producer.ledger.acquire("a", "w")
        assert isinstance(lease, Lease)
        if state == "delayed":
            await lease.postpone(1000)
    deleted = await asyncio.to_thread(cli.json, "delete", "a", "--yes", STT_REDIS_URL=redis_url)
    assert deleted["deleted"] == ["a"]
    if isinstance(lease, Lease):
        for write in (lease.renew, lambda: lease.commit(a_segment("zombie")), lease.release):
            with pytest.raises(LeaseLost):
                await write()
    assert set(raw.keys("*")) <= {"stt:schema", "stt:queue:turns"}
    check = LedgerCheck(settings, producer._connection)
    assert [problem async for problem in check.problems()] == []
    await producer.close()


def test_a_record_cannot_name_other_files(cli: Cli, redis_url: str, raw: redis.Redis, tmp_path: Path) -> None:
    """Only names that follow from the spec are deleted, below STT_ALLOWED_OUTPUTS."""
    (tmp_path / "secret").write_text("x")
    (tmp_path / "kept.json").write_text("x")
    spec = json.dumps({"source": "/audio/kept.wav", "out_dir": str(tmp_path)})
    fields = {"state": "done", "spec": spec, "outputs": json.dumps([f"{tmp_path}/secret", f"{tmp_path}/kept.json"])}
    raw.hset("stt:job:a", mapping=fields)
    done = cli.run("delete", "a", "--outputs", "--yes", STT_REDIS_URL=redis_url, STT_ALLOWED_OUTPUTS="/elsewhere")
    assert done.returncode == 1
    assert "STT_ALLOWED_OUTPUTS" in done.stderr
    raw.hset("stt:job:a", mapping=fields)
    assert cli.run("delete", "a", "--outputs", "--yes", STT_REDIS_URL=redis_url).returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]


def test_an_unknown_name_is_refused(cli: Cli, redis_url: str) -> None:
    done = cli.run("delete", "nobody", "--yes", STT_REDIS_URL=redis_url)
    assert done.returncode != 0
    assert "nobody" in done.stderr


@pytest.mark.parametrize(
    ("given", "seconds"), [("24h", 86400), ("90m", 5400), ("7d", 604_800), ("45", 45), ("1.5h", 5400), ("30s", 30)]
)
def test_retain_sets_the_lifetime_of_the_jobs_of_a_batch(
    cli: Cli, redis_url: str, raw: redis.Redis, given: str, seconds: int
) -> None:
    (cli.folder / "a.wav").write_bytes(b"RIFF")
    (job,) = cli.json("submit", "a.wav", "--retain", given, STT_REDIS_URL=redis_url)["jobs"]
    settings = load({}, redis_url=redis_url)

    async def finish() -> None:
        producer, connection = Producer(settings), RedisConnection(redis_url)
        lease = await producer.ledger.acquire(job["id"], "w")
        assert isinstance(lease, Lease)
        events = EventStream(settings, connection)
        await lease.commit(a_segment(SEEDED))
        JobReporter(lease, events).committed(a_segment(SEEDED))
        await lease.finish(a_transcript(job["id"], (a_segment(SEEDED),)), [])
        await events.publish("progress", job["id"])
        await connection.close()
        await producer.close()

    assert raw.ttl(f"stt:job:{job['id']}") > 86400 * 29, "an unfinished job stays"
    asyncio.run(finish())
    with_text = [key for key in raw.scan_iter("*") if SEEDED in repr(_value(raw, key))]
    assert sorted(with_text) == [f"stt:job:{job['id']}:commits", f"stt:job:{job['id']}:transcript"]
    assert all(seconds - 60 < raw.ttl(key) <= seconds for key in (*with_text, f"stt:job:{job['id']}"))


@pytest.mark.parametrize("given", ["", "0", "-1h", "1 week", "h"])
def test_an_invalid_duration_is_refused(cli: Cli, redis_url: str, given: str) -> None:
    (cli.folder / "a.wav").write_bytes(b"RIFF")
    done = cli.run("submit", "a.wav", "--retain", given, STT_REDIS_URL=redis_url)
    assert done.returncode == 2
    assert "is not a duration: write 24h" in done.stderr


async def test_an_endless_rewrite_of_the_files_is_an_error_of_redis(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def info(_: RedisConnection) -> dict[str, int]:
        return {"rdb_bgsave_in_progress": 1}

    monkeypatch.setattr(persistence, "_info", info)
    monkeypatch.setattr(persistence, "TIMEOUT_S", 0.05)
    connection = RedisConnection(redis_url)
    try:
        with pytest.raises(LedgerUnavailable, match=r"still rewrites its files after 0\.05 s"):
            await persistence._until_done(connection, "rdb_bgsave_in_progress")
    finally:
        await connection.close()
