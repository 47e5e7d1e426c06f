"""OpenTelemetry traces. The span of an attempt at a job contains a span for each section. The span of a section
contains a span for each session. The only module that imports `opentelemetry`.

Tracing is off, and the library is not imported, unless OTEL_EXPORTER_OTLP_ENDPOINT (or ..._TRACES_ENDPOINT) is set. The
standard variables apply: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/

Spans contain numbers, ids and codes. They never contain a path, an address, a key, a transcript, or the text of an
error, which may quote all of these. Job ids chosen by a producer are hashed, since they may identify a person: see
`public_job_id`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Final

from worker.version import installed_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span as OtelSpan
    from opentelemetry.trace import Tracer

_LOG: Final = logging.getLogger(__name__)
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
CLOSE_TIMEOUT_S: Final = 1.5
"""Maximum seconds for sending the last spans at the end of the process."""
_OWN_JOB_ID: Final = re.compile(r"[0-9a-f]{24}")
"""A job id made by `tasks.job_spec.job_id` from the content and the options."""


class Span:
    """One span. Without tracing, all methods do nothing."""

    __slots__ = ("_span",)

    def __init__(self, span: OtelSpan | None) -> None:
        self._span = span

    def set(self, **facts: str | float | None) -> None:
        """Set attributes with the names `stt.NAME`. Values of None are omitted."""
        if self._span is not None:
            for name, value in facts.items():
                if value is not None:
                    self._span.set_attribute(f"stt.{name}", value)

    def fail(self, code: str) -> None:
        """Mark the span as failed. `code`: an error code of `worker.errors`."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415

            self._span.set_attribute("error.type", code)
            self._span.set_status(Status(StatusCode.ERROR, code))


_NO_SPAN: Final = Span(None)
_tracer: Tracer | None = None
_provider: TracerProvider | None = None


def set_up(environ: Mapping[str, str] = os.environ) -> bool:
    """Start tracing if `environ` names an endpoint. Returns whether tracing is on."""
    if not any(environ.get(name) for name in _ENDPOINTS):
        return False
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER", "otlp") == "none":
        return False
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _LOG.warning("no traces: OTEL_EXPORTER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed (extra `otel`)")
        return False
    # The processor's queue is bounded: spans that do not fit or cannot be sent are dropped, and the job does not wait.
    add_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return True


def add_processor(processor: SpanProcessor) -> None:
    """Send all spans from now on to `processor`."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    global _tracer, _provider  # noqa: PLW0603  one tracer for the process
    number = installed_version() or "unknown"
    names = {"service.version": number, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if "OTEL_SERVICE_NAME" not in os.environ:
        names["service.name"] = "stt-batch"
    _provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
    _provider.add_span_processor(processor)
    _tracer = _provider.get_tracer("stt-batch", number)


def close() -> None:
    """Send the remaining spans, for at most CLOSE_TIMEOUT_S, and stop."""
    global _tracer, _provider
    provider, _tracer, _provider = _provider, None, None
    if provider is not None:
        sending = threading.Thread(target=provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(CLOSE_TIMEOUT_S)


def public_job_id(job_id: str) -> str:
    """Return the job id as it appears in spans: unchanged if it was made from the content, otherwise `sha256:` and the
    first 24 hexadecimal digits of its SHA-256. A producer can compute this hash to find its job."""
    if _OWN_JOB_ID.fullmatch(job_id):
        return job_id
    return f"sha256:{hashlib.sha256(job_id.encode()).hexdigest()[:24]}"


def span(name: str, job_id: str, **facts: str | float | None) -> AbstractContextManager[Span]:
    """Context with a span named `name`, failed if the body raises an error. Spans that start in the body, also in tasks
    created there, become its children. `facts`: attributes, see `Span.set`."""
    # A generator would take 0.7 KB of each live session.
    return nullcontext(_NO_SPAN) if _tracer is None else _recorded(_tracer, name, job_id, facts)


@contextmanager
def _recorded(tracer: Tracer, name: str, job_id: str, facts: Mapping[str, str | float | None]) -> Iterator[Span]:
    with tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as real:
        own = Span(real)
        own.set(job_id=public_job_id(job_id), **facts)
        try:
            yield own
        except BaseException as exc:
            own.fail(str(getattr(exc, "code", type(exc).__name__)))
            raise


__all__ = ["Span", "add_processor", "close", "public_job_id", "set_up", "span"]
