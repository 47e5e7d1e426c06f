"""Webhooks that no running worker can deliver are refused at submit, whichever way the job comes, and named later.

The settings of the workers decide, never those of the producer.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tasks.client.handles import submit, submit_many
from tasks.client.producer import Producer, make_spec
from tests.integration.test_waiting_jobs import a_worker, registry_of
from tests.support.command_line import Cli, cli
from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.worker_registry import WorkerFacts
from worker.settings import Settings, load
from worker.storage.address import parse
from worker.webhooks.deliverable import undeliverable

__all__ = ["cli"]  # a fixture
LOCAL, PUBLIC = "http://127.0.0.1:9/x", "https://hooks.example/x"


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url)


def register(settings: Settings, *workers: WorkerFacts) -> None:
    async def report() -> None:
        connection = RedisConnection(settings.redis_url)
        for worker in workers:
            await registry_of(settings, connection).beat(worker, {})
        await connection.close()

    asyncio.run(report())


@pytest.mark.parametrize(
    ("url", "workers", "reason"),
    [
        (PUBLIC, [], None),
        (PUBLIC, [(False, "")], "no worker has STT_WEBHOOK_SECRET"),
        (PUBLIC, [(False, ""), (True, "")], None),
        (LOCAL, [(True, "")], "has a private address"),
        (LOCAL, [(True, "http://127.0.0.1:9")], None),
        (LOCAL, [(False, "http://127.0.0.1:9"), (True, "")], "has a private address"),
        (PUBLIC, [(True, "https://other.example")], "is not within STT_ALLOWED_WEBHOOKS"),
        (PUBLIC, [(True, "https://other.example"), (True, "https://*.example")], None),
        ("http://[::1]/x", [(True, "")], "has a private address"),
        ("http://169.254.169.254/x", [(True, "")], "has a private address"),
        ("http://localhost/x", [(True, "")], "has a private address"),
    ],
)
def test_a_webhook_is_refused_if_no_worker_can_deliver_it(
    settings: Settings, url: str, workers: list[tuple[bool, str]], reason: str | None
) -> None:
    facts = [a_worker(settings, signs_webhooks=signs, allowed_webhooks=allowed) for signs, allowed in workers]
    found = undeliverable(parse(url), facts, settings)
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_every_way_to_submit_refuses_it(cli: Cli, settings: Settings, redis_url: str) -> None:
    register(settings, a_worker(settings))
    audio = cli.folder / "a.wav"
    audio.write_bytes(b"RIFF")
    (cli.folder / "list.jsonl").write_text(f'{{"source": "{audio}", "webhook": "{PUBLIC}"}}\n')
    known = {"STT_REDIS_URL": redis_url}
    for arguments in (["a.wav", "--webhook", PUBLIC], ["a.wav", "--batch-webhook", PUBLIC], ["list.jsonl"]):
        done = cli.run("submit", *arguments, **known)
        assert done.returncode != 0
        assert f"{PUBLIC}: this webhook could never be delivered: no worker has STT_WEBHOOK_SECRET" in done.stderr
    with pytest.raises(BadJob, match="could never be delivered"):
        submit(audio, webhook=PUBLIC, settings=settings)
    with pytest.raises(BadJob, match="could never be delivered"):
        submit_many([audio], batch_webhook=PUBLIC, settings=settings)
    assert cli.json("status", **known)["jobs"] == []


def test_the_settings_of_the_producer_do_not_matter(cli: Cli, settings: Settings, redis_url: str) -> None:
    register(settings, a_worker(settings, signs_webhooks=True, allowed_webhooks="http://127.0.0.1:9"))
    (cli.folder / "a.wav").write_bytes(b"RIFF")
    known = {"STT_REDIS_URL": redis_url, "STT_ALLOWED_WEBHOOKS": "https://nobody.example"}
    assert cli.run("submit", "a.wav", "--webhook", LOCAL, "--batch-webhook", LOCAL, **known).returncode == 0
    batch = submit_many([cli.folder / "a.wav"], batch_webhook=LOCAL, settings=settings)
    assert len(batch.jobs) == 1


async def test_a_waiting_webhook_that_no_worker_can_deliver_is_named(
    tmp_path: Path, settings: Settings, cli: Cli, redis_url: str
) -> None:
    audio = tmp_path / "b.wav"
    audio.write_bytes(b"RIFF")
    producer = Producer(settings)
    try:
        job = await producer.submit(make_spec(audio, webhook=PUBLIC))  # no worker is alive, so nothing is known
        await producer.ledger.cancel(job.job_id)
        await registry_of(settings, RedisConnection(redis_url)).beat(a_worker(settings), {})
    finally:
        await producer.close()
    shown = await asyncio.to_thread(cli.run, "webhooks", STT_REDIS_URL=redis_url)
    assert "no worker has STT_WEBHOOK_SECRET" in shown.stdout
