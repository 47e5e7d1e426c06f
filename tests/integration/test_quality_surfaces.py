"""The quality of a transcript wherever a job is shown: ledger, status, run, summary, events, metrics and webhook."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner
from rich.console import Console

from tasks.batches.summary import JobLine, summarize
from tasks.batches.summary_page import page
from tasks.cli import main
from tasks.cli.run.file_states import File
from tasks.cli.run.json_output import of_file
from tasks.cli.run.progress_display import RunDisplay
from tasks.cli.run.progress_totals import RunTracker
from tasks.execution.job_reporter import JobReporter
from tasks.job_spec import JobStatus
from tests.support.samples_of import a_transcript
from worker import metrics
from worker.ledger.connection import RedisConnection
from worker.ledger.event_stream import EventStream
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.ledger.records import JobRecord
from worker.settings import Settings
from worker.storage.address import parse
from worker.transcript.model import Quality, ReviewReason
from worker.webhooks.outbox import Outbox

WHY = "the recognizer was unsure (mean confidence 0.31): [listen] to it"
LOW = Quality(
    confidence=0.31,
    confidence_low=0.06,
    words_per_second=4.2,
    needs_review=True,
    reasons=(ReviewReason(code="low_confidence", text=WHY),),
)


@pytest.fixture
async def connection(settings: Settings) -> AsyncIterator[RedisConnection]:
    connection = RedisConnection(settings.redis_url)
    yield connection
    await connection.close()


@pytest.fixture
async def record(ledger: Ledger, settings: Settings, connection: RedisConnection) -> JobRecord:
    """End a job as a worker does, with a transcript of doubtful quality."""
    spec = json.dumps({"source": "/audio/call.wav", "webhook": "https://example.com/hook", "batch": "monday"})
    await ledger.create("doubtful", spec, batch="monday")
    lease = await ledger.acquire("doubtful", "worker")
    assert isinstance(lease, Lease)
    events = EventStream(settings, connection)
    await JobReporter(lease, events).finish(
        a_transcript("doubtful").model_copy(update={"quality": LOW}), ["/out/call.json"]
    )
    found = await ledger.get("doubtful")
    assert found is not None
    return found


async def test_the_ledger_and_the_producer_api_have_it(record: JobRecord) -> None:
    assert record.quality == LOW
    assert JobStatus.of(record).quality == LOW


async def test_status_shows_it(record: JobRecord, settings: Settings) -> None:
    async def status(*arguments: str) -> str:
        environment = {"STT_REDIS_URL": settings.redis_url}
        result = await asyncio.to_thread(CliRunner().invoke, main, ["status", *arguments], env=environment)
        return result.output

    shown = await status("monday")
    assert f"needs review: {WHY}" in shown
    assert "1 need review" in shown
    one = await status("doubtful")
    assert f"review       {WHY}" in one
    assert "confidence 0.31" in one
    assert Quality.model_validate(json.loads(await status("doubtful", "--json"))["quality"]) == LOW


async def test_run_and_its_summary_show_it(record: JobRecord, tmp_path: Path) -> None:
    file = File(parse("/audio/call.wav"), "call", 1, job_id="doubtful", record=record)
    assert of_file(file)["quality"]["needs_review"] is True
    screen = io.StringIO()
    display = RunDisplay(Console(file=screen, width=200), RunTracker([file]), tmp_path)
    display.ended(file)
    display.summary(1.0)
    assert "1 done (1 needs review)" in screen.getvalue()
    assert f"needs review: {WHY}" in screen.getvalue()
    summary = summarize("monday", [JobLine.of(record)], now=1.0)
    assert summary.needs_review == 1
    html = page(summary, None)
    assert "done, needs review" in html
    assert WHY in html


async def test_event_metrics_and_webhook_carry_it(
    record: JobRecord, settings: Settings, connection: RedisConnection, raw: redis.Redis
) -> None:
    ended = [fields for _, fields in raw.xrange("stt:events") if fields["event"] == "done"]
    assert [fields["review"] for fields in ended] == ["low_confidence"]
    text = metrics.exposition(metrics.WORKER, "")[0].decode()
    assert 'stt_jobs_needing_review_total{reason="low_confidence"}' in text
    assert "stt_job_confidence_ratio_bucket" in text
    (message,) = (await Outbox(settings, connection).claim(1)).messages
    assert Quality.model_validate(json.loads(message.body)["data"]["quality"]) == LOW
