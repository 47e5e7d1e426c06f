"""One section of the source: a first pass over the whole section, and a second pass over sound without text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import structlog

from worker import metrics, tracing
from worker.audio.frame_feed import FrameFeed, Piece
from worker.audio.level_history import LevelHistory
from worker.audio.recent_audio import RecentAudio
from worker.audio.segmentation.section_plan import SectionPlan
from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.errors import EndpointError
from worker.pipeline.job import JobLog
from worker.pipeline.run_progress import RunProgress, SectionPositions
from worker.pipeline.second_pass import SecondPass
from worker.pipeline.session_sequence import SectionRecord, Service, SessionSequence
from worker.pipeline.source_change_check import ContentGuard
from worker.transcript.model import Gap, SectionFacts, Segment, SessionFacts, UnansweredSound


class Section:
    """Transcribes one section and records each segment at once in the job's durable log.

    Call `run`, then `complete`; or only `abandon`. An exception from `log`, `guard` or `progress` ends the section."""

    def __init__(
        self,
        job_id: str,
        service: Service,
        number: int,
        plan: SectionPlan,
        *,
        channel: str | None = None,
        committed: Iterable[Segment],
        log: JobLog,
        guard: ContentGuard,
        progress: RunProgress,
        store_audio: bool = False,
    ) -> None:
        """`number`: index of the section in the job, from 0. `channel`: channel name for its segments, or None.
        `committed`: segments of the section from earlier attempts. `store_audio`: whether to store the last seconds of
        the audio for the second pass, because the source is slow to read again."""
        self.number = number
        self.plan = plan
        self.channel = channel
        self._service = service
        self._rate = service.settings.sample_rate
        self._record = SectionRecord(job_id, number, channel)
        self._log = log
        self._guard = guard
        self._progress = progress
        self.segments = sorted(committed, key=lambda segment: segment.start)
        """All segments in the job's log, including a last partial that the service never committed."""
        self._voiced = VoiceActivityHistory(self._rate)
        self._recent = RecentAudio(self._rate) if store_audio else None
        self._start_s = (plan.start - plan.overlap_before) / self._rate
        self._first = SessionSequence(
            service,
            self._record,
            self._start_s,
            voiced=self._voiced,
            recent=self._recent,
            committed=self.segments,
            commit=self._commit,
            report=progress.update,
        )
        self._counted = metrics.RisingCounter(metrics.AUDIO_COMMITTED, max(self._start_s, self._first.committed_s))
        self._latest_s = 0.0
        self.error: EndpointError | None = None
        """The reason why the section was abandoned, or None."""
        self.missing: list[Gap] = []
        """Parts of the section that the transcript lacks, with the reasons."""
        self.unanswered: tuple[UnansweredSound, ...] = ()
        """Sound for which the service gave no text, also noise and music."""

    @property
    def committed_s(self) -> float:
        """Position in the file, in seconds, at which the last committed word ends."""
        return max(self._first.committed_s, self._latest_s)

    @property
    def sent_s(self) -> float:
        """Position in the file, in seconds, up to which audio was sent."""
        return self._first.sent_s

    @property
    def sessions(self) -> list[SessionFacts]:
        return self._record.sessions

    @property
    def failures(self) -> list[str]:
        """The reasons why sessions ended early."""
        return self._record.failures

    async def run(self, feed: FrameFeed, end_s: float) -> None:
        """Run the first pass: stream all of `feed` until its text is committed or the retries are used up.

        `end_s`: position in the file, in seconds, at which the section ends. If the retries are used up, `error` is set
        to the reason, and the rest of the section is added to `missing`. Raises EndpointError if the service refuses
        permanently."""
        structlog.contextvars.bind_contextvars(section=self.number)
        span_s = {"start_s": self.plan.start / self._rate, "end_s": self.plan.end / self._rate}
        with tracing.span("section", job_id=self._record.job_id, section=self.number, **span_s) as span:
            self.error = await self._first.run(feed)
            span.set(sessions=len(self.sessions), committed_until_s=self.committed_s)
            if self.error is not None:
                span.fail(self.error.code)
                start_s = self.committed_s
                if (left := self._first.uncommitted) is not None:
                    await self._record_segment(left)
                self.missing.append(self._gap(start_s, max(end_s, start_s), str(self.error)))
                return
        unsent_s = feed.position / self._rate - self.sent_s
        if unsent_s > 0:  # should be impossible; checked defensively
            self.missing.append(self._gap(self.sent_s, self.sent_s + unsent_s, "not sent"))

    async def complete(self, open_feed: Callable[[], FrameFeed], pieces: Sequence[Piece], end_s: float) -> None:
        """Run the second pass: stream sound without text again, and list the sound that still has no text.

        Speech in this list is also added to `missing`, unless it is too short. `open_feed` opens the audio of the
        section again, if needed. `pieces`: the ranges of the source that the section streams. `end_s`: position in the
        file, in seconds, at which the section ends."""
        second = SecondPass(
            self._service,
            self._record,
            open_feed,
            pieces,
            self._voiced,
            self._recent,
            segments=self.segments,
            commit=self._commit,
            report=self._progress.update,
        )
        # After a failed first pass, do not stream again; the audio after the last word is already in `missing`.
        if self.error is not None:
            self.unanswered = tuple(await second.unanswered(self._start_s, self.committed_s))
        else:
            left = await second.run(self._start_s, end_s, self._first.uncommitted)
            if left is not None:  # the sound of the uncommitted text gets its own entry in `missing` below
                end_s = min(end_s, left.start)
            self.unanswered = tuple(await second.unanswered(self._start_s, end_s))
            if left is not None:
                await self._record_segment(left)
                self.missing.append(self._gap(left.start, left.end, "the service never committed it"))
        self.missing += [self._gap(one.start, one.end, one.reason) for one in self.unanswered if one.missing]

    @property
    def levels(self) -> LevelHistory:
        """The loudness of the audio that this attempt streamed."""
        return self._voiced.levels

    def abandon(self, error: EndpointError, end_s: float) -> None:
        """Mark the rest of the section as missing without streaming it. `error`: the error with which the service
        failed another section; the same error would end this section."""
        self.error = error
        self.missing.append(self._gap(self.committed_s, end_s, str(error)))

    def account(self, end: int | None = None) -> SectionFacts:
        """Return how far the section is sent, answered and committed, in samples of the file. `end`: actual end of the
        section, or None for the planned end."""
        at = self.positions(end)
        heard = max(at.start, min(round(self._first.heard_s * self._rate), at.sent))
        return SectionFacts(
            start=at.start,
            end=at.end,
            channel=self.channel,
            sent=at.sent,
            heard=heard,
            committed=at.committed,
            finished=not self.missing,
            unanswered=self.unanswered,
            dropped=self._record.dropped,
        )

    def positions(self, end: int | None = None) -> SectionPositions:
        """Return how far the section is sent and committed. `end`: see `account`."""
        start, end = self.plan.start, self.plan.end if end is None else end
        sent = max(start, min(round(self.sent_s * self._rate), end))
        return SectionPositions(start, end, sent, max(start, min(round(self.committed_s * self._rate), sent)))

    async def _commit(self, segment: Segment) -> None:
        await self._record_segment(segment)
        self._latest_s = max(self._latest_s, segment.end)
        self._counted.update(self.committed_s)

    async def _record_segment(self, segment: Segment) -> None:
        """Make a segment durable, then report it. Called for committed segments, and for a last partial text that the
        service never committed."""
        if self.number or self.channel is not None:
            segment = segment.model_copy(update={"section": self.number, "channel": self.channel})
        self._guard.check_size()
        await self._log.commit(segment)
        self.segments.append(segment)
        self._progress.committed(segment)

    def _gap(self, start_s: float, end_s: float, reason: str) -> Gap:
        return Gap(start=round(start_s, 3), end=round(end_s, 3), channel=self.channel, reason=reason)
