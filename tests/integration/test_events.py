"""The stream of events: its entries, its maximum length, and its behaviour while Redis is away."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import redis

from tasks.execution.job_reporter import JobReporter
from tests.support.ports import free_port
from tests.support.samples_of import a_segment, a_transcript
from worker.errors import LeaseLost
from worker.job_progress import Progress
from worker.ledger.connection import RedisConnection
from worker.ledger.event_stream import MAX_TEXT, EventStream
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import Settings, load


@pytest.fixture
async def events(settings: Settings) -> AsyncIterator[EventStream]:
    connection = RedisConnection(settings.redis_url)
    yield EventStream(settings, connection)
    await connection.close()


async def test_an_event_is_written_with_its_facts(events: EventStream, raw: redis.Redis) -> None:
    await events.publish("failed", "a", batch="b", code="auth_refused", reason="x" * 5000, attempt=None)
    ((_, fields),) = raw.xrange("stt:events")
    expected = {"event": "failed", "job": "a", "batch": "b", "code": "auth_refused", "reason": "x" * MAX_TEXT}
    assert fields == expected
    assert raw.ttl("stt:events") > 0


async def test_the_stream_is_bounded(events: EventStream, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.ledger.event_stream.MAX_ENTRIES", 300)
    for first in range(0, 2000, 500):
        await events.publish_many(("queued", f"job-{first + n}", {"batch": "b"}) for n in range(500))
    assert 300 <= raw.xlen("stt:events") < 500
    assert raw.xrevrange("stt:events", count=1)[0][1]["job"] == "job-1999"


async def test_a_job_is_reported_after_the_ledger_has_it(
    settings: Settings, events: EventStream, raw: redis.Redis
) -> None:
    ledger = Ledger(settings)
    await ledger.create("a", '{"source": "/a.wav", "batch": "b"}', batch="b")
    lease = await ledger.acquire("a", "w")
    assert isinstance(lease, Lease)
    reporter = JobReporter(lease, events)
    reporter.started()
    for sent_s in (1.0, 2.0):  # the second is too soon after the first
        reporter.progress(Progress(duration_s=10, sent_s=sent_s, committed_s=0, partial="hel"))
    reporter.committed(a_segment("one", 0, 1))
    await reporter.finish(a_transcript("a", (a_segment("one", 0, 1),)), [])
    with pytest.raises(LeaseLost):
        await reporter.fail("x", "y")
    JobReporter(lease, None).started()
    found = [fields for _, fields in raw.xrange("stt:events")]
    assert [fields["event"] for fields in found] == ["started", "progress", "committed", "done"]
    assert (found[1]["sent_s"], found[2]["text"], found[2]["end"], found[2]["batch"]) == ("1.0", "one", "1.0", "b")
    await ledger.close()


async def test_an_event_is_dropped_while_redis_is_away(caplog: pytest.LogCaptureFixture) -> None:
    settings = load({}, redis_url=f"redis://127.0.0.1:{free_port()}/0")
    connection = RedisConnection(settings.redis_url, retries=0)
    with caplog.at_level(logging.WARNING):
        await EventStream(settings, connection).publish("done", "a")
    assert "1 events dropped, such as done of job a" in caplog.text
    await connection.close()


async def test_concurrent_events_share_one_round_trip_in_order(settings: Settings) -> None:
    written: list[list[str]] = []

    class Slow:
        async def script(self, name: str, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
            await asyncio.sleep(0)
            written.append([fields[3] for fields in json.loads(str(args[2]))])

    events = EventStream(settings, Slow())
    for number in range(5):
        events.publish_soon("progress", f"{number}")
    await asyncio.gather(events.publish("done", "5"), events.publish("done", "6"))
    assert written == [["0", "1", "2", "3", "4"], ["5", "6"]]


async def test_waiting_events_are_bounded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Away:
        async def script(self, name: str, keys: Sequence[str], args: Sequence[str | int | float]) -> Any:
            await asyncio.Event().wait()

    monkeypatch.setattr("worker.ledger.event_stream.MAX_WAITING", 3)
    events = EventStream(settings, Away())
    for number in range(5):
        events.publish_soon("progress", f"{number}")
    assert "too many events wait for Redis: progress of job 3" in caplog.text
    assert "job 2" not in caplog.text
