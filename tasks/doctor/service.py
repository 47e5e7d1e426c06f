"""Checks the real-time service: connection, API key, one session with a sample, and its latency."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tasks.doctor.finding import Finding, fail, ok, warn
from worker.errors import AccessRefused, AuthRefused, EndpointBusy, EndpointError, SttError
from worker.job_progress import Progress
from worker.network.no_proxy import is_loopback
from worker.pipeline.job import Job
from worker.pipeline.run import run
from worker.realtime import client
from worker.secret_masking import show_url
from worker.settings import Settings
from worker.storage.address import from_path
from worker.transcript.model import SectionFacts, Segment, Transcript

SLOW_CONNECT_S: Final = 2.0
SLOW_COMMIT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class SampleResult:
    """Transcript and latency of one sample."""

    transcript: Transcript
    took_s: float
    latencies_s: tuple[float, ...]
    """Latency of each commit from the moment its last word was sent. Only meaningful at speed 1."""

    @property
    def whole(self) -> bool:
        """Whether the whole sample was transcribed without a failed session."""
        transcript = self.transcript
        return bool(transcript.segments) and transcript.coverage.complete and not transcript.failures

    @property
    def latency_s(self) -> float:
        return statistics.median(self.latencies_s) if self.latencies_s else 0.0


class _Latencies:
    """The log and the listener of a pipeline run. It stores nothing, and only measures the latency of each commit."""

    def __init__(self) -> None:
        self._begun = float("inf")
        self.latencies_s: list[float] = []

    async def record_content(self, content: str, named: str) -> None: ...

    async def record_plans(self, plans: str) -> None: ...

    async def commit(self, segment: Segment) -> None: ...

    async def record_section(self, section: int, facts: SectionFacts) -> None: ...

    def committed(self, segment: Segment) -> None:
        self.latencies_s.append(max(0.0, time.monotonic() - self._begun - segment.end))

    def progress(self, progress: Progress) -> None:
        if progress.sent_s > 0:
            self._begun = min(self._begun, time.monotonic() - progress.sent_s)


async def transcribe_sample(settings: Settings, sample: Path) -> SampleResult:
    """Stream a sample through one session, without a retry. Raises SttError."""
    latencies, started = _Latencies(), time.monotonic()
    once = settings.model_copy(update={"session_retries": 0, "allowed_sources": ""})
    job = Job(id="doctor", source=from_path(sample), speed=1.0, language=None)
    transcript = await run(job, settings=once, log=latencies, listener=latencies)
    return SampleResult(transcript, time.monotonic() - started, tuple(latencies.latencies_s))


async def check(settings: Settings, sample: Path) -> list[Finding]:
    if not settings.url or not settings.api_key.get_secret_value():
        return []  # no service is set, which `doctor.of_settings` reports
    started = time.monotonic()
    try:
        transport = await client.check(settings.url, settings.api_key, settings)
    except AccessRefused as exc:
        key = "set STT_API_KEY to a key of that service"
        return [fail("service", str(exc), key if isinstance(exc, AuthRefused) else "check the account of the key")]
    except EndpointBusy as exc:
        return [warn("service", str(exc), "wait, or open fewer sessions (STT_API_KEY_MAX_SESSIONS)")]
    except EndpointError as exc:
        return [fail("service", str(exc))]
    took_s = time.monotonic() - started
    text = f"{show_url(settings.url)} accepts the key; connected over {transport} in {took_s:.2f} s"
    found = [warn("service", text, "check the network connection") if took_s > SLOW_CONNECT_S else ok("service", text)]
    if transport == "polling" and settings.transport == "auto":
        way = "let the proxies on the way pass websockets; polling needs more requests"
        found.append(warn("service", "a websocket was not possible, so polling is used", way))
    try:
        result = await transcribe_sample(settings, sample)
    except SttError as exc:
        return [*found, fail("service", f"the sample was not transcribed: {exc}")]
    return [*found, *of_sample(result)]


def of_sample(result: SampleResult) -> list[Finding]:
    transcript = result.transcript
    if not result.whole:
        reasons = [*transcript.failures, *(gap.reason for gap in transcript.coverage.missing)]
        if not reasons:
            way = "use a sample in a language of the service: --sample FILE"
            return [warn("service", "a session ran, but it returned no text for the sample", way)]
        return [fail("service", f"the transcript of the sample is incomplete: {'; '.join(reasons)}")]
    text = f"sample transcribed in {result.took_s:.1f} s; commits {result.latency_s:.1f} s after the speech"
    found = [warn("service", text) if result.latency_s > SLOW_COMMIT_S else ok("service", text)]
    if any(segment.timing != "measured" for segment in transcript.segments):
        found.append(warn("service", "it returns no word times; those in transcripts are estimated"))
    return found


def is_local(url: str) -> bool:
    """Whether the host of a URL is this machine; true for a URL without a host, such as a Unix socket."""
    host = urlsplit(url).hostname or ""
    return not host or is_loopback(host)
