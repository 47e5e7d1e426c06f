"""Upgrades: records of earlier versions are read, their jobs finished, and workers replaced one by one."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner

from tasks import resume, retry
from tasks.cli import main
from tasks.client.producer import Producer
from tasks.execution.job_retry_policy import MAX_UNREAD
from tests.support import golden
from tests.support.fleet import ROOT, Fleet, Worker
from tests.support.receiver import Receiver, receiver
from tests.support.tones import ToneWord
from tests.support.wait import wait_until
from worker.errors import LedgerNewer
from worker.ledger import schema
from worker.ledger.connection import RedisConnection
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import load
from worker.storage.address import parse
from worker.webhooks import delivery_schedule
from worker.webhooks.delivery_schedule import WebhookDeliverer
from worker.webhooks.http_post import WebhookSender
from worker.webhooks.outbox import Outbox

NEXT = "tests.support.next_worker"
NEXT_VERSION = schema.VERSION + 1
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
# The last commit before the ledger had a schema version.
OLDER = "f131164"
OLDER_NAMES = {
    "STT_LEASE_RENEW_S": "STT_RENEW_S",
    "STT_REAP_INTERVAL_S": "STT_REAP_S",
    "STT_JOB_BACKOFF_S": "STT_BACKOFF_S",
}
"""Settings that were renamed since that commit. It ignores the present names."""


@pytest.fixture
def hook(tmp_path: Path) -> Iterator[Receiver]:
    with receiver(tmp_path) as one:
        yield one


# -- what a version left -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(golden.FOLDER.glob("*.json")), ids=lambda path: path.stem)
@pytest.mark.gate_sample(3)
def test_the_present_worker_finishes_jobs_of_every_version(path: Path, fleet: Fleet, hook: Receiver) -> None:
    said = golden.audio(fleet.folder)
    with fleet.raw as raw:
        golden.restore(raw, path, fleet.folder, hook.url)
        before = {name: raw.xrange(f"stt:job:g-{name}:commits") for name in ("long", "single", "done")}
        plan = raw.hget("stt:job:g-long", "plan")
    done = fleet.transcript("g-done")
    fleet.assert_done("g-done", said["done"])
    fleet.start(sessions=8, STT_SPEED="max", STT_WEBHOOK_SECRET=SECRET, STT_ALLOWED_WEBHOOKS="*")
    assert resume("g-paused", settings=fleet.settings) == ["g-paused"]
    with fleet.raw as raw:
        raw.zadd("stt:delayed", {"g-delayed": 1})  # its delay is over
    again = ["g-cancelled", "g-failed", "g-incomplete", "g-unwritten"]
    assert retry(*again, settings=fleet.settings) == again
    names = [name for name in said if name != "done"]
    wait_until(lambda: fleet_has(fleet, "g-intake"), "the intake took its entry", timeout_s=60)
    fleet.until_ended(*(f"g-{name}" for name in names), timeout_s=60)
    for name in names:
        if name in {"long", "unwritten"}:
            record = fleet.record(f"g-{name}")
            assert record.state is JobState.DONE, (name, record.error)
            heard = [w.text for s in fleet.transcript(f"g-{name}").segments for w in s.words]
            assert heard == [w.text for w in said[name]], name
        else:
            fleet.assert_done(f"g-{name}", said[name])
        if name != "intake":
            folder = fleet.folder / ("nowhere/below" if name == "unwritten" else "out")
            assert (folder / f"{name}.json").exists(), name
    with fleet.raw as raw:
        for name, entries in before.items():
            assert entries
            assert raw.xrange(f"stt:job:g-{name}:commits")[: len(entries)] == entries, "nothing is rewritten"
        assert raw.hget("stt:job:g-long", "plan") == plan
    # Committed text is not streamed again.
    assert sum(s.end - s.start for s in fleet.transcript("g-long").sessions) < 0.6 * golden.AUDIO["long"][0]
    assert fleet.transcript("g-done") == done
    told = {f"/ok/{name}" for name in (*said, "batch") if name != "intake"}
    wait_until(
        lambda: {one["path"] for one in hook.requests()} == told,
        "every webhook came",
        timeout_s=60,
    )
    environ = {**fleet.environ, "STT_WEBHOOK_SECRET": SECRET, "STT_ALLOWED_WEBHOOKS": "*"}
    sent = CliRunner().invoke(main, ["webhooks", "retry", "--all"], env=environ)
    assert sent.exit_code == 0, sent.output
    wait_until(lambda: len(hook.requests("/ok/failed")) == 2, "the dead letter is sent again", timeout_s=60)
    answer = CliRunner().invoke(main, ["status", "golden", "--json"], env=environ)
    assert json.loads(answer.output)["counts"] == {"done": 10}


def fleet_has(fleet: Fleet, job_id: str) -> bool:
    with fleet.raw as raw:
        return bool(raw.exists(f"stt:job:{job_id}"))


# -- a ledger in a newer format ---------------------------------------------------------------------------------------


def test_a_worker_that_cannot_read_the_ledger_exits_with_the_reason(fleet: Fleet, raw: redis.Redis) -> None:
    raw.hset("stt:schema", mapping={"version": str(NEXT_VERSION + 1), "reader": str(NEXT_VERSION)})
    worker = fleet.launch()
    assert worker.process.wait(60) == 1
    assert f"error: this Redis contains records of version {NEXT_VERSION}" in worker.text()
    assert "Traceback" not in worker.text()
    answer = CliRunner().invoke(main, ["cancel", "a"], env=fleet.environ)
    assert answer.exit_code != 0
    assert "install a newer stt-batch" in answer.output
    raw.delete("stt:schema")


def test_running_workers_take_no_job_once_a_newer_version_writes_unreadable_records(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, words = fleet.audio("a", 20.0)
    old = fleet.start()
    queue(fleet, "first", source, speed="4")
    wait_until(lambda: fleet.committed("first"), "it is in the middle", timeout_s=60)
    fleet.start(module=NEXT, NEXT_READER=str(NEXT_VERSION))
    with fleet.raw as raw:
        assert raw.hgetall("stt:schema") == {"version": str(NEXT_VERSION), "reader": str(NEXT_VERSION)}
    with pytest.raises(LedgerNewer):
        queue(fleet, "refused", source)
    monkeypatch.setattr(schema, "WRITTEN", (NEXT_VERSION, NEXT_VERSION))
    many = [f"later-{n}" for n in range(8)]
    for name in many:
        queue(fleet, name, source, speed="max")
    fleet.until_ended("first", *many)
    for name in ("first", *many):
        fleet.assert_done(name, words)
    lines = old.text().splitlines()
    assert not [line for line in lines if "job started" in line and "later-" in line]
    assert [line for line in lines if f"this stt-batch reads records up to version {schema.VERSION}" in line]


async def test_webhooks_of_a_newer_version_are_left_to_newer_workers(
    ledger: Ledger, redis_url: str, raw: redis.Redis, hook: Receiver, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    settings = load({}, redis_url=redis_url, webhook_secret=SECRET, allowed_webhooks="*")
    connection = RedisConnection(redis_url)
    outbox = Outbox(settings, connection)
    deliverer = WebhookDeliverer(settings, outbox, WebhookSender(settings))
    for name in ("first", "second"):
        await ledger.create(name, json.dumps({"source": "/a.wav", "webhook": f"{hook.url}/ok/{name}"}), batch="b")
        lease = await ledger.acquire(name, "me")
        assert isinstance(lease, Lease)
        await lease.fail("x", "y")
    (taken,) = (await outbox.claim(1)).messages
    await outbox.watch_batch("b", parse(f"{hook.url}/ok/batch"))
    raw.hset("stt:schema", mapping={"version": str(NEXT_VERSION), "reader": str(NEXT_VERSION)})
    before = {key: raw.hgetall(key) for key in raw.keys("stt:webhook:*")}
    with pytest.raises(LedgerNewer, match=f"reads records up to version {schema.VERSION}"):
        await deliverer.once()
    with pytest.raises(LedgerNewer):
        await outbox.claim(1)
    shown = await asyncio.to_thread(CliRunner().invoke, main, ["webhooks"], env={"STT_REDIS_URL": redis_url})
    assert shown.exit_code != 0
    assert "install a newer stt-batch" in shown.output
    assert {key: raw.hgetall(key) for key in raw.keys("stt:webhook:*")} == before
    assert raw.exists("stt:batch:b:webhook"), "no webhook for the end of the batch"
    assert await outbox.mark_delivered(taken), "it finishes the claimed message"

    running = asyncio.create_task(deliverer.run())
    monkeypatch.setattr(delivery_schedule, "POLL_S", 0.01)
    seen = raw.info("stats")["total_commands_processed"]
    await asyncio.to_thread(
        wait_until, lambda: raw.info("stats")["total_commands_processed"] > seen + 100, "it looks again and again"
    )
    assert not hook.requests()
    monkeypatch.setattr(schema, "VERSION", NEXT_VERSION)  # a newer worker replaces it
    await asyncio.to_thread(wait_until, lambda: len(hook.requests()) == 2, "the newer one delivers", timeout_s=60)
    running.cancel()
    await asyncio.wait([running])
    await connection.close()
    assert {one["path"] for one in hook.requests()} == {
        "/ok/batch",
        f"/ok/{'second' if taken.subject == 'first' else 'first'}",
    }
    said = capfd.readouterr()
    assert (said.out + said.err).count("webhooks are left to newer workers") == 1


# -- jobs of a newer version -------------------------------------------------------------------------------------------


def test_a_job_with_an_unknown_field_waits_for_a_newer_worker(fleet: Fleet) -> None:
    source, words = fleet.audio("a", 5.0)
    old = fleet.start()
    queue(fleet, "new", source, loudness=True, speed="max")
    wait_until(lambda: fleet.record("new").error_code == "job_newer", "it is left to others", timeout_s=60)
    record = fleet.record("new")
    assert (record.state, record.attempts) == (JobState.QUEUED, 0)
    assert "does not know fields of the job (loudness)" in (record.error or "")
    shown = CliRunner().invoke(main, ["status", "new"], env=fleet.environ)
    assert shown.exit_code == 0
    assert "a.wav" in shown.output
    assert "job left to a newer worker" in old.text()
    fleet.start(module=NEXT)
    fleet.until_ended("new")
    fleet.assert_done("new", words)


def test_a_job_with_an_unknown_field_fails_with_a_remedy_if_no_newer_worker_comes(fleet: Fleet) -> None:
    source, words = fleet.audio("a", 5.0)
    queue(fleet, "new", source, loudness=True, speed="max")
    with fleet.raw as raw:
        raw.hset("stt:job:new", "unread", MAX_UNREAD)
    fleet.start()
    fleet.until_ended("new")
    record = fleet.record("new")
    assert (record.state, record.error_code) == (JobState.FAILED, "job_newer")
    assert "needs a worker of that version" in (record.error or "")
    fleet.start(module=NEXT)
    fleet.workers[0].end()
    assert retry("new", settings=fleet.settings) == ["new"]
    fleet.until_ended("new")
    fleet.assert_done("new", words)


def test_the_intake_refuses_an_unknown_field(fleet: Fleet) -> None:
    fleet.start()
    with fleet.raw as raw:
        raw.xadd("stt:intake", {"job": json.dumps({"source": "/a.wav", "loudness": True})})
        wait_until(lambda: raw.xlen("stt:intake:replies") == 1, "it is answered", timeout_s=60)
        ((_, reply),) = raw.xrange("stt:intake:replies")
    assert reply["refused"] == "bad_job"
    assert "loudness" in reply["reason"]


# -- one after the other -----------------------------------------------------------------------------------------------


def queue(fleet: Fleet, name: str, source: Path, **options: object) -> None:
    """Record a job and queue it, as producers of all versions do."""

    async def record() -> None:
        producer = Producer(fleet.settings)
        try:
            await producer.ledger.create(name, json.dumps({"source": str(source), **options}))
            await producer.wake([name])
        finally:
            await producer.close()

    asyncio.run(record())


def roll(fleet: Fleet, olds: list[Worker], jobs: dict[str, list[ToneWord]], **new: str) -> None:
    """Replace workers one by one while jobs run: each is stopped after 20 more words are committed."""
    for old in olds:
        before = sum(len(fleet.committed(name)) for name in jobs)
        wait_until(
            lambda before=before: sum(len(fleet.committed(name)) for name in jobs) > before + 20,
            "the jobs go on",
            timeout_s=60,
            poll_s=0.1,
        )
        assert old.end() < 40
        fleet.start(**new)  # type: ignore[arg-type]


def assert_all_done(fleet: Fleet, jobs: dict[str, list[ToneWord]]) -> None:
    fleet.until_ended(*jobs, timeout_s=240)
    for name, words in jobs.items():
        fleet.assert_done(name, words)


def test_workers_are_replaced_one_by_one_under_load(fleet: Fleet) -> None:
    jobs = {}
    for number in range(8):
        name = f"job-{number}"
        source, jobs[name] = fleet.audio(name, 24.0, seed=number)
        queue(fleet, name, source, speed="6", **({"loudness": True} if number % 4 == 3 else {}))
    olds = [fleet.start(sessions=2), fleet.start(sessions=2)]
    roll(fleet, olds, jobs, module=NEXT)
    assert_all_done(fleet, jobs)
    assert [name for name in jobs if fleet.record(name).epoch > 2], "no job was running when its worker stopped"
    with fleet.raw as raw:
        assert raw.hgetall("stt:schema") == {"version": str(NEXT_VERSION), "reader": str(schema.READER)}


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_fleet_is_upgraded_from_an_older_commit(fleet: Fleet, tmp_path: Path) -> None:
    """One of the older workers is killed instead of stopped."""
    code = tmp_path / "older"
    archive = subprocess.run(["git", "archive", OLDER], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:
        pytest.skip(f"the history of this copy has no {OLDER}: {archive.stderr.decode().strip()}")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as files:
        files.extractall(code, filter="data")
    assert not (code / "worker" / "storage" / "schema.py").exists()
    jobs = {}
    for number in range(60):
        name = f"job-{number}"
        source, jobs[name] = fleet.audio(name, 40.0, seed=number)
        queue(fleet, name, source, speed="4")
    older = {old: fleet.environ[new] for new, old in OLDER_NAMES.items()}
    olds = [fleet.start(sessions=6, PYTHONPATH=str(code), **older) for _ in range(3)]
    roll(fleet, olds[:2], jobs)
    olds[2].kill()
    fleet.start()
    assert_all_done(fleet, jobs)
    assert {fleet.record(name).epoch for name in jobs} > {2}
