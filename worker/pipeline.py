"""One job from its source to its transcript: the whole flow on one screen.

source -> blocks -> mono -> wire rate -> frames -> paced session(s) -> commits -> segments -> transcript -> files
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from worker.audio.decode import AudioSource, open_source
from worker.audio.frames import wire_frames
from worker.audio.source import sha256_file
from worker.audio.voicing import Frame, voiced_frames
from worker.errors import EndpointError
from worker.progress import Progress
from worker.realtime.decision import Action, decide
from worker.realtime.pairing import Commit
from worker.realtime.session import Session
from worker.realtime.streaming import Endpoint, ended, stream
from worker.settings import Settings
from worker.storage import outputs
from worker.storage.outputs import Outputs
from worker.timeline import Timeline
from worker.transcript.assemble import Assembler
from worker.transcript.compose import Facts, compose
from worker.transcript.model import Segment, SessionFacts, Transcript

logger = structlog.get_logger(__name__)

RESUME_MARGIN_S: Final = 0.6
"""A new session begins this long before the end of the last committed word, so that it hears the next one whole."""
PROGRESS_EVERY_S: Final = 0.25
BACKOFF_S: Final = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs to know."""

    id: str
    source: Path
    speed: float
    """Factor of real time; inf for as fast as the service takes it."""
    language: str | None
    """Written into the transcript when the service names none."""
    out: Outputs | None
    """Files to write, None for none."""
    committed: tuple[Segment, ...] = ()
    """What an earlier attempt committed: this one goes on after it."""


class JobLog(Protocol):
    """Where a run reports. Both may raise, which ends the run."""

    async def commit(self, segment: Segment) -> None:
        """Make a segment durable; the run goes on only when this returned."""

    async def progress(self, progress: Progress) -> None: ...


async def run(job: Job, *, settings: Settings, log: JobLog) -> Transcript:
    """Transcribe one source and write its files. Raises SttError; on cancellation the session is closed first."""
    return await _Run(job, settings, log).run()


class _Run:
    def __init__(self, job: Job, settings: Settings, log: JobLog) -> None:
        self._job = job
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._endpoint = Endpoint(settings.url, settings.api_key)
        self._assembler = Assembler(job.committed)
        self._segments = list(job.committed)
        self._sessions: list[SessionFacts] = []
        self._next_progress = 0.0
        self._duration_s = 0.0
        self._sent_s = 0.0

    async def run(self) -> Transcript:
        job, started = self._job, self._loop.time()
        sha256 = await asyncio.to_thread(sha256_file, job.source)
        with open_source(job.source) as source:
            self._duration_s = source.info.duration_s or 0.0
            await self._report("")
            await self._stream_all(source)
            facts = Facts(
                job_id=job.id,
                path=job.source,
                sha256=sha256,
                size_bytes=job.source.stat().st_size,
                info=source.info,
                frames_decoded=source.frames_decoded,
                warnings=source.warnings,
                language=job.language,
                speed=job.speed,
                endpoint=self._endpoint.url,
                sessions=tuple(self._sessions),
                sent_s=self._sent_s,
                elapsed_s=self._loop.time() - started,
            )
        transcript = compose(self._segments, facts)
        if job.out is not None:
            await asyncio.to_thread(outputs.write, transcript, job.out)
        return transcript

    async def _stream_all(self, source: AudioSource) -> None:
        """Sessions, one after the other, until all audio is sent and committed."""
        failures = 0
        while True:
            before = self._assembler.until_s
            try:
                action, error = await self._stream_once(source)
            except EndpointError as exc:
                action, error = (Action.RETRY if exc.retryable else Action.FAIL), exc
            if action is Action.DONE:
                return
            failures = 0 if self._assembler.until_s > before else failures + 1
            if error is not None and (action is Action.FAIL or failures > self._settings.retries):
                raise error
            pause_s = 0.0 if action is Action.ROLLOVER and not failures else _backoff_s(failures)
            logger.warning("session ended early", job=self._job.id, error=str(error), next_in_s=round(pause_s, 1))
            await asyncio.sleep(pause_s)

    async def _stream_once(self, source: AudioSource) -> tuple[Action, EndpointError | None]:
        """One session over what is not committed yet."""
        rate = self._settings.sample_rate
        start_s = max(0.0, self._assembler.until_s - RESUME_MARGIN_S)
        self._assembler.resume(start_s)
        timeline = Timeline(rate)

        async def on_commit(commit: Commit) -> None:
            segment = self._assembler.place(commit, timeline)
            if segment is not None:
                await self._keep(segment)

        async def on_session(session: Session) -> None:
            self._sent_s = max(self._sent_s, start_s + session.sent_samples / rate)
            if self._loop.time() >= self._next_progress:
                await self._report(session.pending_text)

        session = await stream(
            self._endpoint,
            self._frames(source, start_s),
            settings=self._settings,
            speed=self._job.speed,
            timeline=timeline,
            on_commit=on_commit,
            on_session=on_session,
        )
        end = ended(session)
        self._sessions.append(
            SessionFacts(
                session_id=session.session_id,
                model=session.model,
                start=round(start_s, 3),
                end=round(start_s + session.sent_samples / rate, 3),
                close_code=end.close_code,
            )
        )
        decision = decide(end, self._endpoint.url)
        if decision.action is Action.DONE and session.pending_text:
            await self._keep(self._assembler.uncommitted(session.pending_text, timeline))
        return decision.action, decision.error

    def _frames(self, source: AudioSource, start_s: float) -> Iterator[Frame]:
        settings = self._settings
        frame_s = settings.frame_max_s if math.isinf(self._job.speed) else settings.frame_s
        pcm = wire_frames(source, settings.sample_rate, int(frame_s * settings.sample_rate), start_s)
        return voiced_frames(pcm, round(start_s * settings.sample_rate))

    async def _keep(self, segment: Segment) -> None:
        await self._log.commit(segment)
        self._segments.append(segment)
        await self._report("")

    async def _report(self, partial: str) -> None:
        self._next_progress = self._loop.time() + PROGRESS_EVERY_S
        progress = Progress(self._duration_s, self._sent_s, self._assembler.until_s, partial)
        await self._log.progress(progress)


def _backoff_s(failures: int) -> float:
    """Exponential with full jitter, so that sessions that failed together do not come back together."""
    least_s, most_s = BACKOFF_S
    return random.uniform(least_s, min(most_s, least_s * 2**failures))  # noqa: S311
