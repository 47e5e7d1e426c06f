"""Workers that are alive, their versions, and the reason why each job waits: in `status`, `list`, `doctor` and metrics.

The kind of failure: an operator looks at a queue that stands still, and no command says why.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis
from pydantic import SecretStr

from tasks.background.health_and_metrics import Monitor
from tasks.background.worker_presence import announce
from tasks.doctor import workers as doctor_workers
from tests.support.command_line import Cli, cli, write_audio
from tests.support.fleet import assert_every_key_ends
from tests.support.ports import free_port
from tests.support.samples_of import a_transcript
from tests.support.wait import async_wait_until
from worker import metrics
from worker.errors import AccessRefused, JobNewer
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import KeyBreaker
from worker.ledger.keys import Keys
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.ledger.records import WaitsFor
from worker.ledger.waiting import QueueView, QueueViewReader
from worker.ledger.worker_registry import LOST_S, WorkerFacts, WorkerRegistry
from worker.settings import Settings, load

__all__ = ["cli"]  # a fixture
SPEC = '{"source": "/audio/%s.wav"}'
PLAIN = {"COLUMNS": "200"}


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url, api_key="k")


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(settings.redis_url)
    yield connection
    await connection.close()


def a_worker(settings: Settings, name: str = "h:1", **facts: object) -> WorkerFacts:
    key = KeyBreaker(settings, RedisConnection(settings.redis_url)).name
    return replace(WorkerFacts(name, "h", 1, "1.0", 1.0, 1, 4, 1, key), **facts)  # type: ignore[arg-type]


def registry_of(settings: Settings, connection: RedisConnection) -> WorkerRegistry:
    return WorkerRegistry(connection, Keys(settings.redis_prefix))


async def view(settings: Settings, connection: RedisConnection, ledger: Ledger, *ids: str) -> dict[str, str | None]:
    """Return the reason why each job waits."""
    records = await ledger.get_many(ids)
    found = await QueueViewReader(settings, connection).read(records)
    waiting = {record.id: found.waiting(record) for record in records if record is not None}
    return {job_id: one and one.reason.value for job_id, one in waiting.items()}


async def acquired(ledger: Ledger, job_id: str) -> Lease:
    lease = await ledger.acquire(job_id, f"owner-{job_id}")
    assert isinstance(lease, Lease)
    return lease


async def jobs_that_wait(settings: Settings, connection: RedisConnection, ledger: Ledger) -> None:
    for name in ("queued", "retry", "newer", "paused", "slot", "working", "done"):
        await ledger.create(name, SPEC % name, batch="b")
    await (await acquired(ledger, "retry")).postpone(1000, "source_unavailable", "the store is away")
    await (await acquired(ledger, "newer")).postpone(1000, JobNewer.code, "unknown field `x`", counted="unread")
    await ledger.pause(["paused"])
    for name in ("slot", "working"):
        await acquired(ledger, name)
    await (await acquired(ledger, "done")).fail("x", "x")
    await registry_of(settings, connection).beat(a_worker(settings, waiting=("slot",)), {})


async def test_each_job_names_its_reason(settings: Settings, connection: RedisConnection, ledger: Ledger) -> None:
    await jobs_that_wait(settings, connection, ledger)
    names = ("queued", "retry", "newer", "paused", "slot", "working", "done")
    assert await view(settings, connection, ledger, *names) == {
        "queued": "worker",
        "retry": "retry",
        "newer": "newer_version",
        "paused": "pause",
        "slot": "slot",
        "working": None,
        "done": None,
    }
    reader = QueueViewReader(settings, connection)
    counts = await reader.count_waiting(await reader.read())
    assert counts == {WaitsFor.WORKER: 1, WaitsFor.SLOT: 1, WaitsFor.RETRY: 1, WaitsFor.PAUSE: 1, WaitsFor.KEY: 0,
                      WaitsFor.NEWER_VERSION: 1}  # fmt: skip
    assert_every_key_ends(settings.redis_url)


async def test_a_paused_key_stops_jobs_only_if_every_worker_has_it(
    settings: Settings, connection: RedisConnection, ledger: Ledger
) -> None:
    await ledger.create("a", SPEC % "a")
    registry = registry_of(settings, connection)
    await registry.beat(a_worker(settings), {})
    await KeyBreaker(settings, connection).refused(AccessRefused("no credit"), jitter=1.0)
    assert await view(settings, connection, ledger, "a") == {"a": "key"}
    await registry.beat(a_worker(settings, "h:2", key="another"), {})
    assert await view(settings, connection, ledger, "a") == {"a": "worker"}


async def test_without_a_worker_every_job_waits_for_one(
    settings: Settings, connection: RedisConnection, ledger: Ledger, raw: redis.Redis
) -> None:
    await jobs_that_wait(settings, connection, ledger)
    raw.zincrby("stt:workers", -1000 * (LOST_S + 1), "h:1")  # it was killed
    names = ("queued", "retry", "newer", "paused")
    # Running jobs have valid leases, so a worker of a version without the registry may be alive.
    assert (await view(settings, connection, ledger, *names))["retry"] == "retry"
    for name in ("slot", "working"):
        raw.hset(f"stt:job:{name}", "lease", "1")
        raw.zadd("stt:leases", {name: 1})
    found = await view(settings, connection, ledger, *names, "working")
    assert found == {"queued": "worker", "retry": "worker", "newer": "worker", "paused": "pause", "working": "worker"}


async def test_a_worker_reports_its_webhooks_and_waiting_jobs(settings: Settings, connection: RedisConnection) -> None:
    signs = settings.model_copy(update={"webhook_secret": SecretStr("x" * 24), "allowed_webhooks": "https://a.example"})
    running = asyncio.create_task(announce(signs, lambda: ["a", "b"]))
    registry = registry_of(settings, connection)
    (found,) = await async_wait_until(registry.alive, "the worker is registered")
    assert (found.waiting, found.signs_webhooks, found.allowed_webhooks) == (("a", "b"), True, "https://a.example")
    assert "k" not in found.fields().values()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert await registry.alive() == []


async def test_metrics_say_which_workers_are_alive_and_why_jobs_wait(
    settings: Settings, connection: RedisConnection, ledger: Ledger
) -> None:
    def value(name: str, **labels: str) -> float | None:
        return metrics.WORKER.get_sample_value(name, labels)

    monitor = Monitor(settings.model_copy(update={"metrics_port": free_port()}))
    running = asyncio.create_task(monitor.run())
    try:
        await async_wait_until(lambda: value("stt_workers_alive") == 0, "no worker is alive")
        await jobs_that_wait(settings, connection, ledger)
        await async_wait_until(lambda: value("stt_workers_alive") == 1, "a worker is alive", timeout_s=30)
        assert value("stt_workers_alive_by_version", version="1.0") == 1
        for reason in ("worker", "slot", "retry", "pause", "newer_version"):
            assert value("stt_jobs_waiting", reason=reason) == 1, reason
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        monitor.close()


def test_status_list_and_submit_say_that_no_worker_is_alive(cli: Cli, redis_url: str) -> None:
    (cli.folder / "a.wav").write_bytes(b"RIFF")
    known = {"STT_REDIS_URL": redis_url, **PLAIN}
    submitted = cli.run("submit", "a.wav", "--batch", "b", **known)
    said = "no worker is alive; start one: stt-batch worker"
    assert said in submitted.stderr
    assert submitted.returncode == 0
    for command in (["status"], ["status", "b"], ["list"]):
        assert said in cli.run(*command, **known).stdout
    assert "queued (no worker)" in cli.run("status", **known).stdout
    assert "waiting: 1 for a worker" in cli.run("status", "b", **known).stdout
    status = cli.json("status", **known)
    assert (status["workers"], status["versions"]) == ([], {})
    assert status["jobs"][0]["waits_for"] == "worker"
    assert cli.json("status", "b", **known)["waiting"] == {"worker": 1}
    assert cli.json("list", **known)["batches"][0]["waiting"] == {"worker": 1}


def test_submit_says_of_each_known_job_whether_it_runs_again(cli: Cli, settings: Settings, redis_url: str) -> None:
    (cli.folder / "a.wav").write_bytes(b"RIFF")
    known = {"STT_REDIS_URL": redis_url}
    (job,) = cli.json("submit", "a.wav", **known)["jobs"]

    async def finish() -> None:
        ledger = Ledger(settings)
        await (await acquired(ledger, job["id"])).finish(a_transcript(job["id"]), [])
        await ledger.close()

    assert "(already queued)" in cli.run("submit", "a.wav", **known).stdout
    asyncio.run(finish())
    assert "(already done)" in cli.run("submit", "a.wav", **known).stdout
    assert "(again, was done; its files will be replaced)" in cli.run("submit", "a.wav", "--force", **known).stdout
    assert "(already queued)" in cli.run("submit", "a.wav", "--force", **known).stdout
    cli.run("cancel", job["id"], **known)
    assert "(again, was cancelled)" in cli.run("submit", "a.wav", **known).stdout


def test_status_names_the_versions_and_each_reason(cli: Cli, settings: Settings, redis_url: str) -> None:
    async def prepare() -> None:
        connection, ledger = RedisConnection(redis_url), Ledger(settings)
        await jobs_that_wait(settings, connection, ledger)
        await registry_of(settings, connection).beat(a_worker(settings, "h:2", version="0.9", jobs=0), {})
        await connection.close()
        await ledger.close()

    asyncio.run(prepare())
    shown = cli.run("status", STT_REDIS_URL=redis_url, **PLAIN).stdout
    assert "2 workers alive (version 0.9 ×1, version 1.0 ×1): 1 of 8 jobs at once" in shown
    for state in ("queued (retry)", "queued (newer version)", "queued (paused)", "running (waits for a session)"):
        assert state in shown
    one = cli.run("status", "retry", STT_REDIS_URL=redis_url, **PLAIN).stdout
    assert "the store is away" in one
    assert "waits_text" in one
    assert "next attempt at" in one


@pytest.mark.parametrize("command", ["status", "list"])
def test_an_expired_batch_is_left_out(cli: Cli, settings: Settings, redis_url: str, command: str) -> None:
    write_audio(cli.folder / "a.wav")
    cli.run("submit", "a.wav", "--out", "out", "--batch", "monday", STT_REDIS_URL=redis_url)
    with redis.Redis.from_url(redis_url) as client:
        client.zadd(Keys(settings.redis_prefix)["batches"], {"ghost": time.time()})
    shown = cli.run(command, STT_REDIS_URL=redis_url, **PLAIN)
    assert (shown.returncode, "monday" in shown.stdout, "ghost" in shown.stdout) == (0, True, False), shown.stderr


def test_doctor_names_missing_workers_versions_and_webhooks(settings: Settings) -> None:
    def texts(found: QueueView, webhooks: int = 0, jobs: int = 2) -> str:
        waiting = {WaitsFor.WORKER: jobs, WaitsFor.KEY: 0}
        return "\n".join(
            f"{one.status} {one.text}; {one.remedy}"
            for one in doctor_workers.of_workers(found, waiting, webhooks, "1.0")
        )

    assert "warn no worker is alive; 2 jobs wait; start one: stt-batch worker" in texts(QueueView())
    assert "no worker is alive; 1 job waits;" in texts(QueueView(), jobs=1)
    one, other = a_worker(settings), a_worker(settings, "h:2", version="0.9")
    assert texts(QueueView((one,))).startswith("ok 1 worker alive")
    assert "warn workers run: 1 of version 0.9, 1 of version 1.0; this program has version 1.0" in texts(
        QueueView((one, other))
    )
    assert "warn 3 webhooks cannot be delivered: no worker has STT_WEBHOOK_SECRET" in texts(QueueView((one,)), 3)
    assert "ok waiting jobs: 2 for a worker" in texts(QueueView((one,)))
