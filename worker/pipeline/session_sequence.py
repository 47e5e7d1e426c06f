"""Streams one part of the source in consecutive sessions until all its audio is sent and its text is committed.

After a session that ends early, the next session starts in the audio before the first uncommitted sound. A session with
new committed text resets the count of retries, so a long file may lose many sessions and still succeed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import structlog

from worker import metrics, tracing
from worker.audio.frame_feed import FrameFeed
from worker.audio.recent_audio import RecentAudio
from worker.audio.segmentation.speech_detector import SpeechDetector
from worker.audio.voice_activity import PcmFrame, VoiceActivityMap
from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.backoff import backoff_s
from worker.errors import EndpointBusy, EndpointError
from worker.pipeline.session_option_results import SessionOptionResults
from worker.realtime.client import Client
from worker.realtime.commit_pairing import Commit
from worker.realtime.rate_control import MAX_AUTO_SPEED, RateControl
from worker.realtime.recording_client import RecordingClient
from worker.realtime.session import Session
from worker.realtime.session_retry_policy import RetryAction, RetryDecision, after_refusal, decide
from worker.realtime.slots import Slots
from worker.realtime.streaming import ServiceAddress, SessionStream, ended
from worker.secret_masking import show_url
from worker.session_timeline import Timeline
from worker.settings import Settings
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment, SessionFacts
from worker.transient_os_errors import shortage_of

logger = structlog.get_logger(__name__)

BACKOFF_S: Final = (0.5, 30.0)
"""First and maximum delay, in seconds, before a retry after a failed session."""


@dataclass(frozen=True, slots=True)
class Service:
    """The objects that all sections of a job share: access to the service, and the speech detector."""

    endpoint: ServiceAddress
    settings: Settings
    speed: RateControl
    slots: Slots
    options: SessionOptionResults
    detector: Callable[[], SpeechDetector | None] = lambda: None
    """Creates the speech detector; returns None if none is installed or enabled."""


@dataclass(slots=True)
class SectionRecord:
    """The sessions of one section, shared by its first and its second pass."""

    job_id: str
    number: int
    """Index of the section in the job, from 0."""
    channel: str | None
    """Channel name of the segments, or None."""
    sessions: list[SessionFacts] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """The reasons why sessions ended early."""
    dropped: int = 0
    """Number of repeated texts that were dropped, because the audio has no further sound in which they could have been
    spoken again."""


class _CountedVoice(VoiceActivityMap):
    """A voice activity map of the current session that also adds each frame to the history of the whole section, and to
    the stored audio."""

    def __init__(self, rate: int, seconds: VoiceActivityHistory, recent: RecentAudio | None) -> None:
        super().__init__(rate)
        self._seconds, self._recent = seconds, recent

    def add(self, frame: PcmFrame) -> None:
        super().add(frame)
        # The map covers one session; the second pass needs the voice activity of all of them, and the last audio.
        self._seconds.add(frame)
        if self._recent is not None:
            self._recent.add(frame)


class SessionSequence:
    """The sessions over one part of the source, one after the other.

    `commit` makes a segment durable. `report` receives text that the service has not committed yet. An exception from
    `commit` or `report` ends the sequence."""

    def __init__(
        self,
        service: Service,
        record: SectionRecord,
        start_s: float,
        *,
        voiced: VoiceActivityHistory,
        recent: RecentAudio | None = None,
        committed: Iterable[Segment] = (),
        commit: Callable[[Segment], Awaitable[None]],
        report: Callable[[str], None],
    ) -> None:
        """`start_s`: position in the file, in seconds, at which the part begins. `voiced`: receives the voice activity
        of the sent audio. `recent`: receives the sent audio, if it must be stored. `committed`: segments of this part
        from earlier attempts, in order of time."""
        self._service = service
        self._record = record
        self._rate = service.settings.sample_rate
        self._loop = asyncio.get_running_loop()
        self._voice = _CountedVoice(self._rate, voiced, recent)
        # At 1x a message arrives soon after its audio, which bounds the times of texts without word times.
        self._assembler = Assembler(self._voice, paced=service.speed.asked == 1.0, start_s=start_s, committed=committed)
        self._commit = commit
        self._report = report
        self._pending = ("", Timeline(self._rate))  # uncommitted text and timeline of the last session
        self.heard_s = start_s
        """Position in the file, in seconds, up to which audio was sent when the service last sent any message."""
        self.sent_s = start_s
        """Position in the file, in seconds, up to which audio was sent."""

    @property
    def committed_s(self) -> float:
        """Position in the file, in seconds, at which the last committed word ends."""
        return self._assembler.until_s

    @property
    def uncommitted(self) -> Segment | None:
        """The last partial text, if the service never committed it."""
        text, timeline = self._pending
        return self._assembler.uncommitted(text, timeline) if text else None

    async def run(self, feed: FrameFeed, until: int | None = None) -> EndpointError | None:
        """Stream all of `feed`, or up to the sample `until`.

        Returns the error if the retries are used up, else None. Raises EndpointError for a permanent refusal."""
        failures = 0
        while True:
            before_s = self.committed_s
            try:
                decision = await self._stream(feed, until)
            except EndpointError as exc:
                # This machine lacks a resource such as descriptors: retries beside the other sessions would make it
                # worse, so the attempt at the job ends.
                if (shortage := shortage_of(exc)) is not None:
                    raise shortage from exc
                decision = after_refusal(exc, key_accepted=self._service.slots.key_accepted)
                # A busy service may refuse the handshake. Then there is no session that could report that the service
                # is busy.
                if isinstance(exc, EndpointBusy):
                    await self._slow_down(MAX_AUTO_SPEED, str(exc))
            if decision.error is not None and decision.error.retry_after_s:
                await self._service.slots.pause(decision.error.retry_after_s)
            if decision.action is RetryAction.DONE:
                return None
            if decision.error is not None:
                # Only failures without progress count: a long file may lose many sessions and still succeed.
                failures = 0 if self.committed_s > before_s else failures + 1
                if decision.action is RetryAction.FAIL or failures > self._service.settings.session_retries:
                    # A permanent refusal, such as a wrong key, would meet every section, so it ends the job.
                    if not decision.error.retryable:
                        raise decision.error
                    self._record.failures.append(str(decision.error))
                    return decision.error
                metrics.RETRIES.labels("session", decision.error.code).inc()
                await self._retry(decision, failures)

    async def _stream(self, feed: FrameFeed, until: int | None) -> RetryDecision:
        """Run one session over the audio that is not committed yet, and decide how to continue."""
        record = self._record
        structlog.contextvars.bind_contextvars(session=len(record.sessions) + 1)
        # The start is aligned with the windows of the voice activity, so that both sessions divide the audio into the
        # same frames.
        start = self._voice.on_grid(round(self._assembler.resume_s(self.sent_s) * self._rate))
        await feed.seek(start, until)
        self._assembler.begin(start / self._rate)
        timeline = Timeline(self._rate)

        async def on_commit(commit: Commit) -> None:
            # Reported at the first commit, so that a paused key is resumed before the end of a long session.
            await self._service.slots.succeeded(record.job_id)
            # The count is compared before and after, because one commit may contain several repeated texts.
            before = self._assembler.dropped
            segment = self._assembler.place(commit, timeline)
            if pieces := self._assembler.dropped - before:
                record.dropped += pieces
                metrics.DUPLICATES_DROPPED.inc(pieces)
                logger.info(
                    "repeated text without sound dropped", pieces=pieces, sent_s=round(commit.sent / self._rate, 2)
                )
            if segment is not None:
                await self._commit(segment)

        async def on_session(session: Session) -> None:
            # `max` is needed because a resumed session starts earlier in the file, and progress must not go back.
            self.sent_s = max(self.sent_s, (timeline.file_end or 0) / self._rate)
            self._report(session.pending_text)

        service = self._service
        options = service.options.current()
        # The slot is released before the pause of a retry, so that other jobs use it meanwhile.
        async with service.slots.slot(record.job_id):
            stream = SessionStream(
                service.endpoint,
                feed,
                settings=service.settings,
                options=options,
                speed=service.speed,
                timeline=timeline,
                voice=self._voice,
                on_commit=on_commit,
                on_session=on_session,
                make_room=lambda: service.slots.make_room(record.job_id),
                connect=RecordingClient if service.settings.record_dir else Client,
            )
            with tracing.span("session", job_id=record.job_id, section=record.number) as span:
                session = await stream.run()
                end = ended(session)
                span.set(session_id=session.session_id, start_s=start / self._rate, sent_s=self.sent_s)
                span.set(ended=end.reason, close_code=end.close_code)
        self.sent_s = max(self.sent_s, (timeline.file_end or 0) / self._rate)
        service.options.confirm(options, session.config)
        transcribed = bool(session.commits_seen or session.pending_text)
        refused = service.options.refuse(options, ended(session), transcribed=transcribed)
        return await self._follow_up(session, timeline, refused)

    async def _follow_up(self, session: Session, timeline: Timeline, refused: Sequence[str]) -> RetryDecision:
        """Record an ended session and decide how to continue. `refused`: options of the session that the service did
        not accept."""
        end, rate = ended(session), timeline.rate
        first = timeline.spans[0].file_start if timeline.spans else None
        # Recorded for every session, also failed ones, so that a transcript shows how it came about.
        facts = SessionFacts(
            session_id=session.session_id,
            model=session.model,
            channel=self._record.channel,
            start=round((first or 0) / rate, 3),
            end=round((timeline.file_end or 0) / rate, 3),
            silence=round(session.padding_samples / rate, 3),
            ended=end.reason,
            close_code=end.close_code,
        )
        self._record.sessions.append(facts)
        metrics.SESSIONS_ENDED.labels(end.reason).inc()
        logger.info("session ended", id=facts.session_id, ended=end.reason, start=facts.start, end=facts.end)
        self.heard_s = max(self.heard_s, timeline.to_file(session.answered_samples) / rate)
        # Only the last session counts: the next one streams the uncommitted audio again.
        self._pending = (session.uncommitted_text, timeline)
        if refused:
            # This is not a failure of the service. It cannot become an endless loop, because each session of this kind
            # leaves fewer options for the next session.
            logger.warning("session options refused", options=list(refused), reason=end.detail)
            return RetryDecision(RetryAction.ROLLOVER)
        decision = decide(end, show_url(self._service.endpoint.url))
        if decision.action is RetryAction.DONE or session.commits_seen:
            await self._service.slots.succeeded(self._record.job_id)
        achieved = session.achieved(self._loop.time())
        if isinstance(decision.error, EndpointBusy):
            await self._slow_down(achieved, end.name or end.detail)
        elif decision.error is not None and not session.commits_seen:
            # The session failed before its first commit: the service may only accept audio in real time.
            self._service.speed.overloaded(self._loop.time(), achieved, f"a session without a commit: {end.detail}")
        # All audio is committed, so another session would have nothing to send. A refusal without any commit still
        # counts: a wrong key must not look like a silent recording.
        if decision.error is not None and session.all_committed and (decision.error.retryable or session.commits_seen):
            logger.info("session ended early, but all of its text is committed", error=str(decision.error))
            decision = RetryDecision(RetryAction.DONE)
        # A rotated session ended at STT_SESSION_MAX_S as planned, before the end of the audio.
        if decision.action is RetryAction.DONE and session.rotated:
            if first is not None:
                self._assembler.session_completed(first / rate, (timeline.file_end or 0) / rate)
            return RetryDecision(RetryAction.ROLLOVER)
        return decision

    async def _slow_down(self, achieved: float, reason: str) -> None:
        """Adapt to a service at its limit: this job sends more slowly, and all workers together open fewer sessions."""
        self._service.speed.overloaded(self._loop.time(), achieved, reason)
        await self._service.slots.busy()

    async def _retry(self, decision: RetryDecision, failures: int) -> None:
        self._record.failures.append(str(decision.error))
        # A pause after a failure gives the service time to recover. No pause is needed after a planned end.
        pause_s = 0.0 if decision.action is RetryAction.ROLLOVER and not failures else backoff_s(failures, *BACKOFF_S)
        error = str(decision.error)
        logger.warning("session ended early", job=self._record.job_id, error=error, retry_in_s=round(pause_s, 1))
        # The partial text belonged to the ended session.
        self._report("")
        await asyncio.sleep(pause_s)
