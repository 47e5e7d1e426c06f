"""Prometheus metrics of a process. The only module that imports the client library of Prometheus.

Metrics are updated once per session, commit or job, never per frame. Labels have few values from fixed sets, never a
key, file name, job id or text. Every worker reports the numbers of the whole queue (`stt_jobs`, `stt_queue_*`,
`stt_api_key_*`), so aggregate these over workers with `max`, not `sum`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.exposition import choose_encoder

from worker.errors import SettingsError
from worker.version import installed_version

# Otherwise each counter has a second series with its creation time, which doubles the output.
disable_created_metrics()  # type: ignore[no-untyped-call]


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    add_build(registry)
    return registry


def add_build(registry: CollectorRegistry) -> None:
    """Add the metric with the version of the product."""
    Info("stt_build", "Version of the product", registry=registry).info({"version": installed_version() or "0"})


WORKER: Final = _registry()
SERVER: Final = _registry()


def _counter(name: str, description: str, *labels: str) -> Counter:
    return Counter(f"stt_{name}", description, labels, registry=_of(name))


def _gauge(name: str, description: str, *labels: str, merged: Literal["sum", "min", "max"] = "max") -> Gauge:
    """`merged`: how the values of the processes of one worker become one value."""
    return Gauge(f"stt_{name}", description, labels, registry=_of(name), multiprocess_mode=merged)


def _histogram(name: str, description: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"stt_{name}", description, registry=_of(name), buckets=buckets)


def _of(name: str) -> CollectorRegistry:
    return SERVER if name.startswith("server_") else WORKER


# -- the queue, as stored in Redis: equal on all workers -------------------------------------------------------------
REDIS_UP: Final = _gauge("redis_up", "1 if Redis answers this worker, else 0", merged="min")
JOBS: Final = _gauge("jobs", "Jobs that have not ended, by state: queued, delayed or running", "state")
JOBS_WAITING: Final = _gauge(
    "jobs_waiting", "Jobs that wait, by reason: worker, slot, retry, pause, key or newer_version", "reason"
)
WORKERS_ALIVE: Final = _gauge("workers_alive", "Workers that are alive, as registered in Redis")
WORKERS_BY_VERSION: Final = _gauge("workers_alive_by_version", "Workers that are alive, by version", "version")
QUEUE_DEPTH: Final = _gauge("queue_depth", "Messages in the queue")
QUEUE_OLDEST: Final = _gauge("queue_oldest_seconds", "Age of the oldest job in the queue")
QUEUE_AUDIO: Final = _gauge(
    "queue_audio_seconds", "Estimated audio without a committed text, by state of its jobs: waiting or running", "state"
)
WEBHOOKS_STORED: Final = _gauge(
    "webhooks_stored", "Webhooks in the outbox: waiting, or undeliverable (dead_letter)", "state"
)
DEAD_LETTERS: Final = _gauge("dead_letters", "Refused queue messages, stored with their reason")
API_KEY_SESSIONS_OPEN: Final = _gauge("api_key_sessions_open", "Sessions open with this API key, across all workers")
API_KEY_PAUSED: Final = _gauge("api_key_paused", "1 if the key is paused, because the service refuses it, else 0")
API_KEY_SESSIONS_LIMIT: Final = _gauge(
    "api_key_sessions_limit", "Sessions this API key may have open now; +Inf without a limit"
)

# -- jobs of this worker ---------------------------------------------------------------------------------------------
JOBS_RUNNING: Final = _gauge("worker_jobs_running", "Jobs that this worker runs", merged="sum")
JOBS_ENDED: Final = _counter("jobs_ended", "Jobs that ended here: done, incomplete or failed", "state")
JOB_FAILURES: Final = _counter("job_failures", "Jobs that failed here, by the code of the error", "code")
JOB_SPEED: Final = _histogram(
    "job_speed_ratio",
    "Speed of a finished job: seconds of audio per second of processing (the inverse of a real-time factor)",
    (0.1, 0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
)
NEEDS_REVIEW: Final = _counter(
    "jobs_needing_review", "Finished jobs of this worker whose transcript needs review, by reason", "reason"
)
JOB_CONFIDENCE: Final = _histogram(
    "job_confidence_ratio",
    "Mean confidence of the words of a finished job, 0 to 1",
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
RETRIES: Final = _counter(
    "retries", "Failed attempts that are retried, by level (session or job) and error code", "level", "reason"
)
DUPLICATES_DROPPED: Final = _counter(
    "duplicate_segments_dropped", "Repeated segments of the service without matching audio, removed from transcripts"
)
LEASE_AGE: Final = _gauge(
    "lease_age_seconds", "Seconds since the oldest lease of this worker was renewed; 0 without a lease"
)
STALE_WRITES: Final = _counter("stale_writes_refused", "Refused writes to jobs that another worker owns now")
REAPED: Final = _counter("reaped_jobs", "Jobs of dead workers: requeued, or failed after too many attempts", "outcome")
MESSAGES_REFUSED: Final = _counter("messages_refused", "Queue messages that could not be read or executed")
WEBHOOKS: Final = _counter(
    "webhooks", "Attempts to deliver a webhook: delivered, failed, or failed for good (dead_letter)", "outcome"
)
OUTPUT_FAILURES: Final = _counter(
    "output_failures", "Transcripts that could not be written, by kind of storage", "storage"
)

# -- sessions of this worker -----------------------------------------------------------------------------------------
SESSIONS_OPEN: Final = _gauge("sessions_open", "Sessions open with the real-time service", merged="sum")
SESSIONS_WAITING: Final = _gauge("sessions_waiting", "Sessions that wait to be opened", merged="sum")
SESSIONS_ENDED: Final = _counter("sessions_ended", "Sessions that ended, by outcome", "outcome")
AUDIO_SENT: Final = _counter("audio_sent_seconds", "Seconds of audio sent, repetitions included")
AUDIO_COMMITTED: Final = _counter("audio_committed_seconds", "Seconds of audio whose text is committed")
SEND_LATENESS: Final = _histogram(
    "send_lateness_seconds",
    "Largest delay of a frame of a session, from its due time to sending",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0),
)
COMMIT_LATENCY: Final = _histogram(
    "commit_latency_seconds",
    "Time from sending the end of a committed segment until its text is stored",
    (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 40.0, 60.0),
)
EVENT_LOOP_LAG: Final = _gauge("event_loop_lag_seconds", "Delay of the last timer on the event loop")

# -- the HTTP API ----------------------------------------------------------------------------------------------------
HTTP_REQUESTS: Final = _counter(
    "http_requests", "Requests to the HTTP API; status 499: the client went away", "method", "route", "status"
)
HTTP_LATENCY: Final = _histogram(
    "http_response_start_seconds",
    "Time from a request to the start of its response",
    (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
)
HTTP_FOLLOWERS: Final = _gauge("http_followers", "Clients that follow events over HTTP")
HTTP_UPLOAD_BYTES: Final = _counter("http_upload_bytes", "Bytes of stored uploads")

# -- the self-hosted service -----------------------------------------------------------------------------------------
SERVER_SESSIONS: Final = _gauge("server_sessions_open", "Sessions open on the self-hosted service")
SERVER_LIMIT: Final = _gauge("server_sessions_limit", "Maximum of open sessions on the self-hosted service")
SERVER_BACKLOG: Final = _gauge("server_backlog_seconds", "Seconds of audio waiting for recognition")
SERVER_READY: Final = _gauge("server_ready", "1 if the self-hosted service can serve sessions, else 0")
SERVER_SESSIONS_ENDED: Final = _counter(
    "server_sessions_ended", "Sessions that ended on the self-hosted service, by close code", "code"
)
SERVER_AUDIO: Final = _counter("server_audio_seconds", "Seconds of audio that the self-hosted service received")

API_KEY_SESSIONS_LIMIT.set(math.inf)
# Create these series at the start: `rate()` does not see the first event of a series that appears with that event.
for _state in ("done", "incomplete", "failed"):
    JOBS_ENDED.labels(_state)
for _reason in ("missing", "no_text", "low_confidence", "language", "repetition", "pace", "not_speech", "channels"):
    NEEDS_REVIEW.labels(_reason)
for _outcome in ("requeued", "failed"):
    REAPED.labels(_outcome)
for _outcome in ("delivered", "failed", "dead_letter"):
    WEBHOOKS.labels(_outcome)


@dataclass(slots=True, eq=False)
class RisingCounter:
    """Updates a counter from a value that mostly rises, such as a position in a file. Values below the highest so far
    are ignored."""

    counter: Counter
    highest: float = 0.0

    def update(self, value: float) -> None:
        if value > self.highest:
            self.counter.inc(value - self.highest)
            self.highest = value


_running: Final[dict[RisingCounter, Callable[[], float]]] = {}


@contextmanager
def measure_session(sent_s: Callable[[], float], late_s: Callable[[], float]) -> Iterator[None]:
    """Context that measures a running session. All sessions of a process must run on one event loop.

    `sent_s` returns the seconds of audio sent so far; it is called by `count_sent_audio` and at the end of the context.
    `late_s` is called at the end and returns the largest delay of a frame, in seconds.
    """
    rising = RisingCounter(AUDIO_SENT)
    _running[rising] = sent_s
    SESSIONS_OPEN.inc()
    try:
        yield
    finally:
        SESSIONS_OPEN.dec()
        del _running[rising]
        rising.update(sent_s())
        SEND_LATENESS.observe(late_s())


def count_sent_audio() -> None:
    """Add the audio that running sessions sent since the last call to AUDIO_SENT. Call it every few seconds."""
    for rising, sent_s in _running.items():
        rising.update(sent_s())


def read(metric: Counter | Gauge) -> float:
    """Return the present value of a counter or gauge without labels, or with its labels set."""
    return float(next(iter(metric.collect())).samples[0].value)


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the metrics of a registry (WORKER or SERVER) in a format that the HTTP header `accept` allows, and their
    content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class MetricsServer:
    """Serves `/metrics` of a worker on separate threads, so it answers even if the event loop is blocked."""

    def __init__(self, host: str, port: int, registry: CollectorRegistry = WORKER) -> None:
        """Listen on `host`; `port` 0 picks a free port. Raises SettingsError if the port cannot be opened."""
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as exc:
            raise SettingsError(
                f"STT_METRICS_PORT: cannot listen on {host}:{port} ({exc.strerror or exc}); choose another port, or 0 "
                "for no metrics"
            ) from None
        self.port = self._server.server_port

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)
