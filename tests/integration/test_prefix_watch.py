"""`stt-batch watch s3://…`: each object is submitted once, across restarts, duplicates and replacements."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import obstore
import pytest
import redis

from tasks.cli.watch.prefix_watch import PrefixWatch
from tasks.client.producer import Producer
from tests.support.command_line import Cli, cli
from tests.support.listing_server import BUCKET as ANY
from tests.support.listing_server import listing_server
from tests.support.s3_server import BUCKET, S3Server, store_of
from tests.support.wait import allowed_s, wait_until
from worker.settings import Settings, load
from worker.storage import object_store
from worker.storage.address import parse

__all__ = ["cli"]  # a fixture


@pytest.fixture
def settings(s3: S3Server, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    object_store._store_of.cache_clear()
    yield load({"STT_S3_ENDPOINT": s3.endpoint, "STT_REDIS_URL": redis_url})
    object_store._store_of.cache_clear()


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[Producer]:
    producer = Producer(settings)
    yield producer
    await producer.close()


def watch(settings: Settings, folder: str, out: str = "/out", bucket: str = BUCKET) -> PrefixWatch:
    given = {"out_dir": out, "batch": "watch", "formats": ("json",)}
    return PrefixWatch(settings, parse(f"s3://{bucket}/{folder}/"), given, as_json=False)


async def put(s3: S3Server, keys: Sequence[str], data: bytes) -> None:
    for key in keys:
        await obstore.put_async(store_of(s3), key, data, use_multipart=False)


async def scanned(watching: PrefixWatch, producer: Producer) -> list[str]:
    """Scan once. Returns the objects that became jobs, without the prefix."""
    before = set(watching._open)
    await watching.scan(producer)
    return sorted(watching._open[job].rpartition("/")[2] for job in set(watching._open) - before)


async def test_each_object_is_submitted_once(
    settings: Settings, s3: S3Server, producer: Producer, raw: redis.Redis
) -> None:
    await put(s3, ["w1/a.wav", "w1/copy of a.wav", "w1/notes.txt"], b"RIFF one")
    watching = watch(settings, "w1")
    assert await scanned(watching, producer) == ["a.wav", "copy of a.wav"]
    assert await scanned(watching, producer) == []
    assert await scanned(watch(settings, "w1"), producer) == [], "a restart repeats nothing"
    await put(s3, ["w1/a.wav"], b"RIFF one")
    assert await scanned(watch(settings, "w1"), producer) == [], "the same content again"
    await put(s3, ["w1/a.wav"], b"RIFF two")
    assert await scanned(watching, producer) == ["a.wav"], "another content"
    for key in raw.keys("stt:job:*"):
        raw.delete(key)
    assert await scanned(watch(settings, "w1"), producer) == [], "the records have expired"
    assert await scanned(watch(settings, "w1", out="/elsewhere"), producer) == ["a.wav", "copy of a.wav"]
    assert all(raw.ttl(key) > 0 for key in raw.keys("stt:*"))


async def test_a_crash_before_the_note_submits_the_same_job(
    settings: Settings, s3: S3Server, producer: Producer, raw: redis.Redis
) -> None:
    await put(s3, ["w2/a.wav"], b"RIFF one")
    await watch(settings, "w2").scan(producer)
    raw.delete(*raw.keys("stt:content:*"))
    await watch(settings, "w2").scan(producer)
    assert len(raw.keys("stt:job:*")) == 1


async def test_a_bad_key_is_named_once(
    settings: Settings, producer: Producer, capsys: pytest.CaptureFixture[str]
) -> None:
    with listing_server(["w3//x.wav", "w3/a.wav"]) as endpoint:
        object_store._store_of.cache_clear()
        watching = watch(settings.model_copy(update={"s3_endpoint": endpoint}), "w3", bucket=ANY)
        assert await scanned(watching, producer) == ["a.wav"]
        await watching.scan(producer)
    assert capsys.readouterr().out.count("left out") == 1


def test_the_command_watches_until_sigterm(cli: Cli, settings: Settings, s3: S3Server, redis_url: str) -> None:
    obstore.put(store_of(s3), "w4/call.wav", b"RIFF", use_multipart=False)
    ready = cli.folder / "ready"
    environ = {**s3.environ, "STT_S3_ENDPOINT": s3.endpoint, "STT_REDIS_URL": redis_url}
    process = cli.fork("watch", f"s3://{BUCKET}/w4/", "--out", "/out", "--ready-file", str(ready), **environ)
    wait_until(ready.exists, "the prefix was listed", timeout_s=40)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    shown = (cli.folder / "watch.log").read_text()
    assert "queued    call.wav" in shown
    assert "stopped   0 done, 0 failed, 1 remain in the queue for the workers" in shown


@pytest.mark.parametrize("place", ["https://host/calls/", "/no/such/folder"])
def test_other_places_are_refused(cli: Cli, redis_url: str, place: str) -> None:
    done = cli.run("watch", place, "--out", str(Path("/out")), STT_REDIS_URL=redis_url)
    assert done.returncode == 2


async def test_a_watch_that_nohup_started_survives_the_end_of_its_terminal(s3: S3Server, settings: Settings) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        ready = asyncio.Event()
        watching = asyncio.create_task(watch(settings, "nohup").main(ready.set))
        await asyncio.wait_for(ready.wait(), allowed_s(20))
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGQUIT)
        await asyncio.wait_for(watching, allowed_s(20))
    finally:
        signal.signal(signal.SIGHUP, before)
