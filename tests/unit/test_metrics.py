"""The metrics, parsed with the Prometheus client library."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families as read

from worker import metrics

LABELS = {"state", "code", "level", "reason", "outcome", "storage", "version", "le", "method", "route", "status"}
"""All labels. No label contains a key, a name or a transcript."""
OF_LIBRARY = ("process_", "python_")


def names(text: str) -> set[str]:
    return {family.name for family in read(text)}


def test_the_server_has_its_own_registry() -> None:
    body, content_type = metrics.exposition(metrics.SERVER, "text/plain")
    assert content_type.startswith("text/plain")
    assert {"stt_server_sessions_open", "stt_server_audio_seconds"} <= names(body.decode())
    assert "stt_jobs" not in names(body.decode())


def test_labels_have_known_names_and_values() -> None:
    metrics.RETRIES.labels("session", "session_lost").inc()
    metrics.SESSIONS_ENDED.labels("dropped").inc()
    for registry in (metrics.WORKER, metrics.SERVER):
        for family in read(metrics.exposition(registry, "text/plain")[0].decode()):
            if not family.name.startswith(OF_LIBRARY):
                assert family.name.startswith("stt_")
                assert family.documentation
                assert {label for sample in family.samples for label in sample.labels} <= LABELS


def test_counts_of_many_threads_are_exact() -> None:
    counter = Counter("c", "c", ["k"], registry=CollectorRegistry())
    rising = [metrics.RisingCounter(counter.labels("rising")) for _ in range(8)]
    before = metrics.AUDIO_SENT._value.get()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:

        def work(number: int) -> None:
            for step in range(2000):
                metrics.AUDIO_SENT.inc(0.5)
                counter.labels("plain").inc()
                rising[number].update(step + 1)
                rising[number].update(step - 5)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
    finally:
        sys.setswitchinterval(interval)
    assert metrics.AUDIO_SENT._value.get() - before == 8 * 2000 * 0.5
    assert counter.labels("plain")._value.get() == counter.labels("rising")._value.get() == 8 * 2000
