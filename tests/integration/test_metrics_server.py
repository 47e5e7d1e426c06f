"""The port of the metrics, read with the client library of Prometheus."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read

from worker import metrics
from worker.errors import SettingsError


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


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"STT_METRICS_PORT: cannot listen on 127\.0\.0\.1:{port}"):
            metrics.MetricsServer("127.0.0.1", port)
