"""Traces: nested spans for each attempt, section and session, without names of files. No spans if tracing is off."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tasks.client.handles import submit
from tasks.execution.message_handler import MessageHandler, Outcome
from tasks.job_spec import JobSpec, job_id
from tests.support.fleet import KEY, Fleet
from tests.support.ports import free_port
from worker import tracing
from worker.ledger.ledger import Ledger
from worker.settings import Settings, load

CHOSEN = "anna.smith-2026-11-03"
"""A job id that a producer chose, as its idempotency key."""
NAMES = ("a-secret-name", KEY, "127.0.0.1", CHOSEN, "anna")


@pytest.fixture
def settings(redis_url: str, service: str) -> Settings:
    return load({}, redis_url=redis_url, url=service, api_key=KEY, speed="max", worker_sessions=2)


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    tracing.add_processor(SimpleSpanProcessor(exporter))
    yield exporter
    tracing.close()


async def performed(settings: Settings, ledger: Ledger, source: Path) -> Outcome:
    await ledger.create(CHOSEN, json.dumps({"source": str(source), "sessions": 2}))
    return await MessageHandler(settings, ledger).perform(CHOSEN, None)


def named(spans: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in spans.get_finished_spans() if span.name == name]


async def test_a_job_its_sections_and_their_sessions(
    settings: Settings, ledger: Ledger, fleet: Fleet, spans: InMemorySpanExporter
) -> None:
    source, _ = fleet.audio("a-secret-name", 160.0)
    assert await performed(settings, ledger, source) is Outcome.ENDED
    (job,), sections, sessions = (named(spans, name) for name in ("job", "section", "session"))
    assert len(sections) == 2
    assert len(sessions) == 2
    assert {span.context.trace_id for span in spans.get_finished_spans()} == {job.context.trace_id}
    assert {span.parent.span_id for span in sections if span.parent} == {job.context.span_id}
    assert {span.parent.span_id for span in sessions if span.parent} == {span.context.span_id for span in sections}
    assert dict(job.attributes or {}) == {
        **{"stt.job_id": tracing.public_job_id(CHOSEN), "stt.attempt": 1, "stt.commits_before": 0, "stt.missing": 0},
        "stt.audio_s": pytest.approx(160, abs=2),
    }
    assert {(span.attributes or {})["stt.section"] for span in sections} == {0, 1}
    assert {(span.attributes or {})["stt.ended"] for span in sessions} == {"completed"}
    assert all(span.status.is_unset for span in spans.get_finished_spans())
    everything = "".join(span.to_json() for span in spans.get_finished_spans())
    assert not [name for name in NAMES if name in everything]


def test_an_id_of_ours_is_shown_and_a_chosen_one_is_not() -> None:
    ours = job_id(JobSpec(source="/a.wav"), "content")
    assert tracing.public_job_id(ours) == ours
    # Computed with: printf %s anna.smith-2026-11-03 | sha256sum | cut -c-24
    assert tracing.public_job_id(CHOSEN) == "sha256:ef7b86ab2ec3b5ad06f6f2d5"
    assert tracing.public_job_id(ours.upper()) != ours.upper()


async def test_a_failure_is_a_code_without_its_text(
    settings: Settings, ledger: Ledger, tmp_path: Path, spans: InMemorySpanExporter
) -> None:
    source = tmp_path / "a-secret-name.wav"
    source.write_bytes(b"")
    await performed(settings, ledger, source)
    (job,) = named(spans, "job")
    assert (job.status.is_ok, job.status.description) == (False, "source_damaged")
    assert (job.attributes or {})["error.type"] == "source_damaged"
    assert not job.events
    assert not [name for name in NAMES if name in job.to_json()]


class _Collector(BaseHTTPRequestHandler):
    bodies: list[bytes]

    def do_POST(self) -> None:
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_worker_sends_them_where_the_standard_variable_says(fleet: Fleet) -> None:
    _Collector.bodies = []
    collector = HTTPServer(("127.0.0.1", 0), _Collector)
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    try:
        endpoint = f"http://127.0.0.1:{collector.server_port}"
        worker = fleet.start(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_SERVICE_NAME="calls")
        source, words = fleet.audio("a", 4.0)
        job = submit(source, settings=fleet.settings, speed="max")
        fleet.until_ended(job.id)
        fleet.assert_done(job.id, words)
        worker.end()  # what is not sent yet is then
    finally:
        collector.shutdown()
        collector.server_close()
        thread.join()
    found = [ExportTraceServiceRequest.FromString(body) for body in _Collector.bodies]
    resources = [resource for request in found for resource in request.resource_spans]
    facts = {(fact.key, fact.value.string_value) for one in resources for fact in one.resource.attributes}
    assert ("service.name", "calls") in facts
    assert {s.name for r in resources for scope in r.scope_spans for s in scope.spans} == {"job", "section", "session"}


def test_a_collector_that_is_away_holds_nothing_up(fleet: Fleet) -> None:
    worker = fleet.start(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    source, words = fleet.audio("a", 4.0)
    job = submit(source, settings=fleet.settings, speed="max")
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)
    assert worker.end() < 6
    assert "Traceback" not in worker.text()


@pytest.mark.parametrize(
    "environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}], ids=["unset", "disabled"]
)
def test_off_it_is_not_even_imported(environ: dict[str, str]) -> None:
    code = f"""
import sys
from worker import tracing
assert tracing.set_up({environ!r}) is False
with tracing.span("job", "a") as span:
    span.set(audio_s=1.0)
    span.fail("code")
tracing.close()
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_where_it_is_not_installed_that_is_said(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert tracing.set_up({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}) is False
    assert "extra `otel`" in caplog.text
