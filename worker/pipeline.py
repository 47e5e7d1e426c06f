"""One job from its source to its transcript: the whole flow on one screen.

source -> blocks -> mono -> wire rate -> frames -> paced session(s) -> commits -> segments -> transcript -> files
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import structlog

from worker.audio.decode import AudioSource, open_source
from worker.audio.feed import FrameFeed
from worker.audio.source import sha256_file
from worker.audio.voicing import VoiceMap
from worker.errors import EndpointBusy, EndpointError
from worker.progress import Progress
from worker.realtime.decision import Action, Decision, decide
from worker.realtime.governor import Slots, Unlimited
from worker.realtime.pairing import Commit
from worker.realtime.session import Session
from worker.realtime.speed import AUTO_CEILING, SpeedControl, is_unlimited
from worker.realtime.streaming import Endpoint, Stream, ended
from worker.settings import Settings, Speed
from worker.storage import outputs
from worker.storage.outputs import Outputs
from worker.timeline import Timeline
from worker.transcript.assemble import Assembler
from worker.transcript.compose import Facts, compose
from worker.transcript.model import Gap, SectionFacts, Segment, SessionFacts, SpeedFall, Transcript

logger = structlog.get_logger(__name__)

PROGRESS_EVERY_S: Final = 0.25
BACKOFF_S: Final = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs to know."""

    id: str
    source: Path
    speed: Speed
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


async def run(job: Job, *, settings: Settings, log: JobLog, slots: Slots | None = None) -> Transcript:
    """Transcribe one source and write its files. Every session waits for one of `slots`, if there are any to share.

    Raises SttError; on cancellation the session is closed first.
    """
    return await _Run(job, settings, log, slots or Unlimited()).run()


class _Run:
    def __init__(self, job: Job, settings: Settings, log: JobLog, slots: Slots) -> None:
        self._job = job
        self._slots = slots
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._endpoint = Endpoint(settings.url, settings.api_key)
        self._speed = SpeedControl(job.speed, self._started)
        self._voice = VoiceMap(settings.sample_rate)
        self._assembler = Assembler(self._voice, paced=job.speed == 1.0, committed=job.committed)
        self._segments = list(job.committed)
        self._sessions: list[SessionFacts] = []
        self._failures: list[str] = []
        self._missing: list[Gap] = []
        self._next_progress = 0.0
        self._duration_s = 0.0
        self._sent_s = 0.0
        self._heard_s = 0.0
        self._pending = ("", Timeline(settings.sample_rate))  # the last session's text in progress

    async def run(self) -> Transcript:
        job = self._job
        # Both read the file, which takes a moment where it is long.
        sha256 = await asyncio.to_thread(sha256_file, job.source)
        with await asyncio.to_thread(open_source, job.source) as source:
            self._duration_s = source.info.duration_s or 0.0
            await self._report("")
            await self._stream_all(source)
            facts = Facts(
                job_id=job.id,
                path=job.source,
                sha256=sha256,
                size_bytes=job.source.stat().st_size,
                info=source.info,
                duration_s=self._duration_s,
                warnings=source.warnings,
                language=job.language,
                speed=job.speed,
                speed_falls=tuple(
                    SpeedFall(speed=c.speed, after=round(c.at_s - self._started, 1), reason=c.reason)
                    for c in self._speed.changes
                ),
                failures=tuple(self._failures),
                wire_rate=self._settings.sample_rate,
                sections=(self._section(),),
                missing=tuple(self._missing),
                endpoint=self._endpoint.url,
                sessions=tuple(self._sessions),
                sent_s=self._sent_s,
                elapsed_s=self._loop.time() - self._started,
            )
        transcript = compose(self._segments, facts)
        if job.out is not None:
            await asyncio.to_thread(outputs.write, transcript, job.out)
        return transcript

    async def _stream_all(self, source: AudioSource) -> None:
        """Sessions, one after the other, until all audio is sent and committed or there is no hope left."""
        settings = self._settings
        frame_s = settings.frame_max_s if is_unlimited(self._job.speed) else settings.frame_s
        feed = FrameFeed(source, settings.sample_rate, int(frame_s * settings.sample_rate))
        failures = 0
        while True:
            before_s = self._assembler.until_s
            try:
                decision = await self._stream_once(feed)
            except EndpointError as exc:
                decision = Decision(Action.RETRY if exc.retryable else Action.FAIL, exc)
                if isinstance(exc, EndpointBusy):
                    await self._slow_down(AUTO_CEILING, str(exc))
            if decision.action is Action.DONE:
                break
            if decision.error is not None:
                failures = 0 if self._assembler.until_s > before_s else failures + 1
                if decision.action is Action.FAIL or failures > settings.retries:
                    await self._give_up(decision.error)
                    return
                await self._retry(decision, failures)
        self._duration_s = source.frames_decoded / source.info.sample_rate
        unsent_s = feed.position / settings.sample_rate - self._sent_s
        if unsent_s > 0:  # cannot be, which is why it is looked at
            self._missing.append(Gap(start=self._sent_s, end=self._sent_s + unsent_s, reason="not sent"))

    def _section(self) -> SectionFacts:
        """The account of the file, which is one section."""
        sent_s = min(self._sent_s, self._duration_s)
        seconds = (0.0, self._duration_s, sent_s, min(self._heard_s, sent_s), min(self._assembler.until_s, sent_s))
        start, end, sent, heard, committed = (round(s * self._settings.sample_rate) for s in seconds)
        return SectionFacts(
            start=start, end=end, sent=sent, heard=heard, committed=committed, finished=not self._missing
        )

    async def _stream_once(self, feed: FrameFeed) -> Decision:
        """One session over what is not committed yet."""
        rate = self._settings.sample_rate
        start = round(self._assembler.resume_s(self._sent_s) * rate)
        await feed.seek(start)
        self._assembler.begin(start / rate)
        timeline = Timeline(rate)

        async def on_commit(commit: Commit) -> None:
            segment = self._assembler.place(commit, timeline)
            if segment is not None:
                await self._keep(segment)

        async def on_session(session: Session) -> None:
            self._sent_s = max(self._sent_s, (timeline.file_end or 0) / rate)
            if self._loop.time() >= self._next_progress:
                await self._report(session.pending_text)

        async with self._slots.slot(self._job.id):
            session = await Stream(
                self._endpoint,
                feed,
                settings=self._settings,
                speed=self._speed,
                timeline=timeline,
                voice=self._voice,
                on_commit=on_commit,
                on_session=on_session,
            ).run()
        self._sent_s = max(self._sent_s, (timeline.file_end or 0) / rate)
        return await self._follow_up(session, timeline)

    async def _follow_up(self, session: Session, timeline: Timeline) -> Decision:
        """Record an ended session and decide what comes after it."""
        end, rate = ended(session), timeline.rate
        first = timeline.spans[0].file_start if timeline.spans else None
        self._sessions.append(
            SessionFacts(
                session_id=session.session_id,
                model=session.model,
                start=round((first or 0) / rate, 3),
                end=round((timeline.file_end or 0) / rate, 3),
                silence=round(session.padding_samples / rate, 3),
                ended=end.why,
                close_code=end.close_code,
            )
        )
        self._heard_s = max(self._heard_s, ((first or 0) + session.answered_samples) / rate)
        decision = decide(end, self._endpoint.url)
        achieved = session.achieved(self._loop.time())
        if isinstance(decision.error, EndpointBusy):
            await self._slow_down(achieved, end.name or end.detail)
        elif decision.error is not None and not session.commits_seen:
            # Nothing came of it: a service that breaks early may take speech only at the pace it is spoken.
            self._speed.trouble(self._loop.time(), achieved, f"a session without a commit: {end.detail}")
        self._pending = (session.pending_text, timeline)
        if decision.action is not Action.DONE:
            return decision
        if session.pending_text and not session.rotated:
            self._missing.append(await self._keep_pending(session.pending_text, timeline))
        return Decision(Action.ROLLOVER) if session.rotated else decision

    async def _slow_down(self, achieved: float, reason: str) -> None:
        """The service is at its limit: this job sends less, and all workers together open fewer sessions."""
        self._speed.trouble(self._loop.time(), achieved, reason)
        await self._slots.busy()

    async def _retry(self, decision: Decision, failures: int) -> None:
        self._failures.append(str(decision.error))
        pause_s = 0.0 if decision.action is Action.ROLLOVER and not failures else _backoff_s(failures)
        logger.warning("session ended early", job=self._job.id, error=str(decision.error), next_in_s=round(pause_s, 1))
        await self._report("")
        await asyncio.sleep(pause_s)

    async def _give_up(self, error: EndpointError) -> None:
        """Raise, unless there is something worth keeping: then the rest is named as missing."""
        text, timeline = self._pending
        if not error.retryable or not (self._segments or text):
            raise error
        self._failures.append(str(error))
        start_s = self._assembler.until_s
        if text:
            await self._keep_pending(text, timeline)
        end_s = max(self._duration_s, start_s)
        self._missing.append(Gap(start=round(start_s, 3), end=round(end_s, 3), reason=str(error)))

    async def _keep_pending(self, text: str, timeline: Timeline) -> Gap:
        """Keep a last partial the service never committed; returns the stretch it stands for."""
        segment = self._assembler.uncommitted(text, timeline)
        await self._keep(segment)
        return Gap(start=segment.start, end=segment.end, reason="the service never committed it")

    async def _keep(self, segment: Segment) -> None:
        await self._log.commit(segment)
        self._segments.append(segment)
        await self._report("")

    async def _report(self, partial: str) -> None:
        now = self._loop.time()
        self._next_progress = now + PROGRESS_EVERY_S
        progress = Progress(
            duration_s=self._duration_s,
            sent_s=self._sent_s,
            committed_s=self._assembler.until_s,
            partial=partial,
            speed=self._speed.current(now),
            trouble=self._failures[-1] if self._failures else "",
        )
        await self._log.progress(progress)


def _backoff_s(failures: int) -> float:
    """Exponential with full jitter, so that sessions that failed together do not come back together."""
    least_s, most_s = BACKOFF_S
    return random.uniform(least_s, min(most_s, least_s * 2**failures))  # noqa: S311
