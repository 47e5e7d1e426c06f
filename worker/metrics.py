"""What Prometheus is told. The only module that imports its client library.

Counts are made once for a session, a commit or a job, never for a frame. Labels are few and come from fixed sets: no
key, file name, job id or text. Numbers of the whole queue (`stt_jobs`, `stt_queue_*`, `stt_slots_*`) are the same on
every worker: take their `max`, not their sum.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
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

# A second series for each counter, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]


def _registry() -> CollectorRegistry:
    made = CollectorRegistry(auto_describe=True)
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    Info("stt_build", "What runs here", registry=made).info({"version": installed_version() or "0"})
    return made


WORKER: Final = _registry()
SERVER: Final = _registry()


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(f"stt_{name}", what, labels, registry=_of(name))


def _gauge(name: str, what: str, *labels: str) -> Gauge:
    return Gauge(f"stt_{name}", what, labels, registry=_of(name))


def _histogram(name: str, what: str, buckets: tuple[float, ...]) -> Histogram:
    return Histogram(f"stt_{name}", what, registry=_of(name), buckets=buckets)


def _of(name: str) -> CollectorRegistry:
    return SERVER if name.startswith("server_") else WORKER


# -- the queue, as Redis has it: the same on every worker ------------------------------------------------------------
REDIS_UP: Final = _gauge("redis_up", "1 while Redis answers this worker, else 0")
JOBS: Final = _gauge("jobs", "Jobs that are not at their end, by state: queued, delayed or running", "state")
QUEUE_DEPTH: Final = _gauge("queue_depth", "Messages that wait in the queue")
QUEUE_OLDEST: Final = _gauge("queue_oldest_seconds", "Age of the job that has waited longest in the queue")
WEBHOOKS_KEPT: Final = _gauge("webhooks_kept", "Webhooks in the outbox: waiting, or set aside", "state")
DEAD_LETTERS: Final = _gauge("dead_letters", "Refused messages of the queue that are kept with their reason")
SLOTS_USED: Final = _gauge("slots_used", "Sessions open with this API key, across all workers")
SLOTS_LIMIT: Final = _gauge("slots_limit", "Sessions this API key may have open now; +Inf without a limit")

# -- jobs of this worker ---------------------------------------------------------------------------------------------
JOBS_HELD: Final = _gauge("jobs_held", "Jobs this worker is at work on")
JOBS_ENDED: Final = _counter("jobs_ended", "Jobs that ended here: done, incomplete or failed", "state")
JOB_FAILURES: Final = _counter("job_failures", "Jobs that failed here, by the code of the error", "code")
JOB_SPEED: Final = _histogram(
    "job_realtime_factor",
    "Seconds of audio for each second a finished job took",
    (0.1, 0.25, 0.5, 0.9, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0),
)
NEEDS_REVIEW: Final = _counter(
    "jobs_needing_review", "Jobs that ended here with a transcript a person should look at, by reason", "reason"
)
JOB_CONFIDENCE: Final = _histogram(
    "job_confidence_ratio",
    "Mean confidence of the words of a finished job, 0 to 1",
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
RETRIES: Final = _counter(
    "retries", "Tries that failed and are repeated, by level (session or job) and error code", "level", "reason"
)
REPEATS_DROPPED: Final = _counter(
    "repeats_dropped", "Pieces of text that the service repeated and for which the audio has no sound: left out"
)
LEASE_AGE: Final = _gauge("lease_age_seconds", "Seconds since the oldest lease held here was renewed; 0 without one")
REFUSED_WRITES: Final = _counter("refused_writes", "Writes refused, because the job is not this worker's any more")
REAPED: Final = _counter("reaped_jobs", "Jobs nobody was at work on: sent again, or given up", "outcome")
MESSAGES_REFUSED: Final = _counter("messages_refused", "Messages of the queue that could not be read or carried out")
WEBHOOKS: Final = _counter("webhooks", "Attempts to deliver a webhook: delivered, failed, or set aside", "outcome")
SINK_FAILURES: Final = _counter("sink_failures", "Transcripts that could not be written, by kind of place", "sink")

# -- sessions of this worker -----------------------------------------------------------------------------------------
SESSIONS_OPEN: Final = _gauge("sessions_open", "Sessions open with the real-time service")
SESSIONS_WAITING: Final = _gauge("sessions_waiting", "Sessions that wait for a slot")
SESSIONS: Final = _counter("sessions", "Sessions that ended, by how", "ended")
AUDIO_SENT: Final = _counter("audio_sent_seconds", "Seconds of audio sent, repeated ones included")
AUDIO_COMMITTED: Final = _counter("audio_committed_seconds", "Seconds of audio whose text is committed")
SEND_LATENESS: Final = _histogram(
    "send_lateness_seconds",
    "Most a frame of a session left after it was due",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 30.0),
)
COMMIT_LATENCY: Final = _histogram(
    "commit_latency_seconds",
    "From the moment the end of a committed piece was sent to the moment it was durable",
    (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0, 40.0, 60.0),
)
LOOP_LAG: Final = _gauge("loop_lag_seconds", "How late the event loop ran its last timer")

# -- the self-hosted service -----------------------------------------------------------------------------------------
SERVER_SESSIONS: Final = _gauge("server_sessions_open", "Sessions open on the self-hosted service")
SERVER_LIMIT: Final = _gauge("server_sessions_limit", "Sessions the self-hosted service takes at once")
SERVER_BACKLOG: Final = _gauge("server_backlog_seconds", "Seconds of audio that wait for recognition")
SERVER_READY: Final = _gauge("server_ready", "1 while the self-hosted service can serve sessions, else 0")
SERVER_ENDED: Final = _counter("server_sessions", "Sessions that ended on it, by close code", "code")
SERVER_AUDIO: Final = _counter("server_audio_seconds", "Seconds of audio the self-hosted service heard")

SLOTS_LIMIT.set(math.inf)
# What exists from the start, so that a rate is seen from the first event on.
for _state in ("done", "incomplete", "failed"):
    JOBS_ENDED.labels(_state)
for _reason in ("missing", "no_text", "low_confidence", "language", "repetition", "pace", "not_speech", "channels"):
    NEEDS_REVIEW.labels(_reason)
for _outcome in ("sent", "given_up"):
    REAPED.labels(_outcome)
for _outcome in ("delivered", "failed", "set_aside"):
    WEBHOOKS.labels(_outcome)


@dataclass(slots=True, eq=False)
class Rising:
    """Feeds a counter from a value that goes up, and sometimes back, such as a position in a file."""

    counter: Counter
    highest: float = 0.0

    def to(self, value: float) -> None:
        if value > self.highest:
            self.counter.inc(value - self.highest)
            self.highest = value


_running: Final[dict[Rising, Callable[[], float]]] = {}


@contextmanager
def session(sent_s: Callable[[], float], late_s: Callable[[], float]) -> Iterator[None]:
    """While a session runs. `sent_s`: seconds of audio it has sent, asked at each `settle` and in the end;
    `late_s`, in the end, how late its latest frame was. On one event loop only."""
    rising = Rising(AUDIO_SENT)
    _running[rising] = sent_s
    SESSIONS_OPEN.inc()
    try:
        yield
    finally:
        SESSIONS_OPEN.dec()
        del _running[rising]
        rising.to(sent_s())
        SEND_LATENESS.observe(late_s())


def settle() -> None:
    """Count what running sessions sent since the last time; every few seconds."""
    for rising, sent_s in _running.items():
        rising.to(sent_s())


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """All of WORKER or SERVER in the form the header `Accept` asks for, and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class MetricsServer:
    """`/metrics` of a worker, on threads of its own: it answers also while the event loop is stuck."""

    def __init__(self, host: str, port: int) -> None:
        """`port` 0 picks a free one. Raises SettingsError when it cannot be listened on."""
        self._server: WSGIServer
        self._thread: threading.Thread
        try:
            self._server, self._thread = start_http_server(port, host, WORKER)
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
