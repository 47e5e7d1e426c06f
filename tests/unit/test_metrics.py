"""What Prometheus is told, read with its own client library."""

from __future__ import annotations

import socket
import sys
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read

from worker import metrics
from worker.errors import SettingsError

LABELS = {"state", "code", "level", "reason", "outcome", "storage", "version", "le"}
"""All labels there are. None holds a key, a name or a text."""
OF_LIBRARY = ("process_", "python_")


@pytest.fixture
def server() -> Iterator[metrics.MetricsServer]:
    made = metrics.MetricsServer("127.0.0.1", 0)
    yield made
    made.close()


def scrape(port: int, accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  our own address
        assert answer.status == 200
        return str(answer.read().decode())


def names(text: str) -> set[str]:
    return {family.name for family in read(text)}


def test_a_worker_serves_what_the_library_reads(server: metrics.MetricsServer) -> None:
    found = names(scrape(server.port))
    assert {"stt_jobs", "stt_sessions_open", "stt_queue_depth", "stt_commit_latency_seconds", "stt_retries"} <= found
    assert {"process_resident_memory_bytes", "python_info", "stt_build_info"} <= found
    assert not [name for name in found if name.startswith("stt_server")]
    modern = scrape(server.port, "application/openmetrics-text; version=1.0.0")
    assert "stt_sessions_open" in {family.name for family in read_openmetrics(modern)}


def test_the_service_serves_its_own() -> None:
    body, content_type = metrics.exposition(metrics.SERVER, "text/plain")
    assert content_type.startswith("text/plain")
    assert {"stt_server_sessions_open", "stt_server_audio_seconds"} <= names(body.decode())
    assert "stt_jobs" not in names(body.decode())


def test_labels_are_few_and_known(server: metrics.MetricsServer) -> None:
    metrics.RETRIES.labels("session", "session_lost").inc()
    metrics.SESSIONS_ENDED.labels("dropped").inc()
    for text in (scrape(server.port), metrics.exposition(metrics.SERVER, "text/plain")[0].decode()):
        for family in read(text):
            if not family.name.startswith(OF_LIBRARY):
                assert family.name.startswith("stt_")
                assert family.documentation
                assert {label for sample in family.samples for label in sample.labels} <= LABELS


def test_counts_of_many_threads_are_exact() -> None:
    counter = Counter("c", "c", ["k"], registry=CollectorRegistry())
    rising = [metrics.Rising(counter.labels("rising")) for _ in range(8)]
    before = metrics.AUDIO_SENT._value.get()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def work(number: int) -> None:
            for step in range(2000):
                metrics.AUDIO_SENT.inc(0.5)
                counter.labels("plain").inc()
                rising[number].to(step + 1)
                rising[number].to(step - 5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert metrics.AUDIO_SENT._value.get() - before == 8 * 2000 * 0.5
    assert counter.labels("plain")._value.get() == counter.labels("rising")._value.get() == 8 * 2000


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"STT_METRICS_PORT: cannot listen on 127\.0\.0\.1:{port}"):
            metrics.MetricsServer("127.0.0.1", port)
