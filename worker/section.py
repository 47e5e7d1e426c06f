"""One stretch of the source: its sessions, one after the other, until all of it is sent and committed.

A session that ends early is followed by another one, which begins before the first sound that is not committed. Retries
count only while nothing new is committed, so a long file may lose many sessions and still come through.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog

from worker import metrics, tracing
from worker.audio.feed import FrameFeed
from worker.audio.sections import SectionPlan
from worker.audio.voicing import VoiceMap
from worker.errors import EndpointBusy, EndpointError
from worker.masking import show_url
from worker.realtime.decision import Action, Decision, decide
from worker.realtime.governor import Slots
from worker.realtime.pairing import Commit
from worker.realtime.session import Session
from worker.realtime.speed import AUTO_CEILING, SpeedControl
from worker.realtime.streaming import Endpoint, Stream, ended
from worker.settings import Settings
from worker.timeline import Timeline
from worker.transcript.assemble import Assembler
from worker.transcript.model import Gap, SectionFacts, Segment, SessionFacts

logger = structlog.get_logger(__name__)

BACKOFF_S: Final = (0.5, 30.0)


@dataclass(frozen=True, slots=True)
class Service:
    """What the sections of a job share to reach the service."""

    endpoint: Endpoint
    settings: Settings
    speed: SpeedControl
    slots: Slots


class Section:
    """`keep` makes a segment durable, `report` tells what was done so far and the text in progress; both may raise,
    which ends the section."""

    def __init__(
        self,
        job_id: str,
        service: Service,
        number: int,
        plan: SectionPlan,
        *,
        channel: str | None = None,
        committed: Iterable[Segment],
        keep: Callable[[Segment], Awaitable[None]],
        report: Callable[[str], Awaitable[None]],
    ) -> None:
        """`number`: of the job's sections, from 0. `channel`: what its words are labelled with. `committed`: the
        segments an earlier attempt has of it, in order."""
        self._job_id = job_id
        self.number = number
        self.plan = plan
        self.channel = channel
        self._service = service
        self._rate = service.settings.sample_rate
        self._loop = asyncio.get_running_loop()
        self._voice = VoiceMap(self._rate)
        self._start_s = (plan.start - plan.overlap_before) / self._rate
        self._assembler = Assembler(
            self._voice, paced=service.speed.asked == 1.0, start_s=self._start_s, committed=committed
        )
        self._counted = metrics.Rising(metrics.AUDIO_COMMITTED, max(self._start_s, self.committed_s))
        self._keep = keep
        self._report = report
        self._pending = ("", Timeline(self._rate))  # the last session's text in progress
        self._heard_s = self._start_s
        self.sent_s = self._start_s
        """File second up to which audio was sent."""
        self.error: EndpointError | None = None
        """Why it was given up."""
        self.sessions: list[SessionFacts] = []
        self.failures: list[str] = []
        self.missing: list[Gap] = []

    @property
    def committed_s(self) -> float:
        """File second at which the last committed word ends."""
        return self._assembler.until_s

    async def run(self, feed: FrameFeed, end_s: float) -> None:
        """Sessions until everything of `feed` is sent and committed, or there is no hope left: then `missing` names
        the rest of the section, which ends at file second `end_s`, and `error` tells why. Raises EndpointError when
        the service refuses in a way that no retry mends."""
        structlog.contextvars.bind_contextvars(section=self.number)
        span_s = {"start_s": self.plan.start / self._rate, "end_s": self.plan.end / self._rate}
        with tracing.span("section", job_id=self._job_id, section=self.number, **span_s) as span:
            await self._follow(feed, end_s)
            span.set(sessions=len(self.sessions), committed_until_s=self.committed_s)
            if self.error is not None:
                span.fail(self.error.code)

    async def _follow(self, feed: FrameFeed, end_s: float) -> None:
        failures = 0
        while True:
            before_s = self.committed_s
            try:
                decision = await self._stream(feed)
            except EndpointError as exc:
                decision = Decision(Action.RETRY if exc.retryable else Action.FAIL, exc)
                if isinstance(exc, EndpointBusy):
                    await self._slow_down(AUTO_CEILING, str(exc))
            if decision.action is Action.DONE:
                break
            if decision.error is not None:
                failures = 0 if self.committed_s > before_s else failures + 1
                if decision.action is Action.FAIL or failures > self._service.settings.retries:
                    await self._give_up(decision.error, end_s)
                    return
                metrics.RETRIES.labels("session", decision.error.code).inc()
                await self._retry(decision, failures)
        unsent_s = feed.position / self._rate - self.sent_s
        if unsent_s > 0:  # cannot be, which is why it is looked at
            self.missing.append(self._gap(self.sent_s, self.sent_s + unsent_s, "not sent"))

    def abandon(self, error: EndpointError, end_s: float) -> None:
        """Do not even begin: the service failed another section in a way that will fail this one too."""
        self.error = error
        self.missing.append(self._gap(self.committed_s, end_s, str(error)))

    def account(self, end: int | None = None) -> SectionFacts:
        """How far each step got; `end`: where the section ends, if that is not as planned."""
        end = self.plan.end if end is None else end
        sent = min(round(self.sent_s * self._rate), end)
        heard, committed = (min(round(s * self._rate), sent) for s in (self._heard_s, self.committed_s))
        start = self.plan.start
        sent, heard, committed = (max(start, at) for at in (sent, heard, committed))
        return SectionFacts(
            start=start,
            end=end,
            channel=self.channel,
            sent=sent,
            heard=heard,
            committed=committed,
            finished=not self.missing,
        )

    async def _stream(self, feed: FrameFeed) -> Decision:
        """One session over what is not committed yet."""
        structlog.contextvars.bind_contextvars(session=len(self.sessions) + 1)
        start = round(self._assembler.resume_s(self.sent_s) * self._rate)
        await feed.seek(start)
        self._assembler.begin(start / self._rate)
        timeline = Timeline(self._rate)

        async def on_commit(commit: Commit) -> None:
            segment = self._assembler.place(commit, timeline)
            if segment is not None:
                await self._keep(self._numbered(segment))
                self._counted.to(self.committed_s)

        async def on_session(session: Session) -> None:
            self.sent_s = max(self.sent_s, (timeline.file_end or 0) / self._rate)
            await self._report(session.pending_text)

        service = self._service
        async with service.slots.slot(self._job_id):
            stream = Stream(
                service.endpoint,
                feed,
                settings=service.settings,
                speed=service.speed,
                timeline=timeline,
                voice=self._voice,
                on_commit=on_commit,
                on_session=on_session,
                make_room=lambda: service.slots.make_room(self._job_id),
            )
            with tracing.span("session", job_id=self._job_id, section=self.number) as span:
                session = await stream.run()
                end = ended(session)
                span.set(session_id=session.session_id, start_s=start / self._rate, sent_s=self.sent_s)
                span.set(ended=end.why, close_code=end.close_code)
        self.sent_s = max(self.sent_s, (timeline.file_end or 0) / self._rate)
        return await self._follow_up(session, timeline)

    async def _follow_up(self, session: Session, timeline: Timeline) -> Decision:
        """Record an ended session and decide what comes after it."""
        end, rate = ended(session), timeline.rate
        first = timeline.spans[0].file_start if timeline.spans else None
        self.sessions.append(
            SessionFacts(
                session_id=session.session_id,
                model=session.model,
                channel=self.channel,
                start=round((first or 0) / rate, 3),
                end=round((timeline.file_end or 0) / rate, 3),
                silence=round(session.padding_samples / rate, 3),
                ended=end.why,
                close_code=end.close_code,
            )
        )
        metrics.SESSIONS.labels(end.why).inc()
        facts = self.sessions[-1]
        logger.info("session ended", id=facts.session_id, ended=end.why, start=facts.start, end=facts.end)
        self._heard_s = max(self._heard_s, timeline.to_file(session.answered_samples) / rate)
        self._pending = (session.left_text, timeline)
        decision = decide(end, show_url(self._service.endpoint.url))
        achieved = session.achieved(self._loop.time())
        if isinstance(decision.error, EndpointBusy):
            await self._slow_down(achieved, end.name or end.detail)
        elif decision.error is not None and not session.commits_seen:
            # Nothing came of it: a service that breaks early may take speech only at the pace it is spoken.
            self._service.speed.trouble(self._loop.time(), achieved, f"a session without a commit: {end.detail}")
        if decision.action is not Action.DONE:
            return decision
        if session.left_text and not session.rotated:
            self.missing.append(await self._keep_pending(session.left_text, timeline))
        return Decision(Action.ROLLOVER) if session.rotated else decision

    async def _slow_down(self, achieved: float, reason: str) -> None:
        """The service is at its limit: this job sends less, and all workers together open fewer sessions."""
        self._service.speed.trouble(self._loop.time(), achieved, reason)
        await self._service.slots.busy()

    async def _retry(self, decision: Decision, failures: int) -> None:
        self.failures.append(str(decision.error))
        pause_s = 0.0 if decision.action is Action.ROLLOVER and not failures else _backoff_s(failures)
        logger.warning("session ended early", job=self._job_id, error=str(decision.error), next_in_s=round(pause_s, 1))
        await self._report("")
        await asyncio.sleep(pause_s)

    async def _give_up(self, error: EndpointError, end_s: float) -> None:
        """Name the rest as missing, unless no retry can mend it."""
        if not error.retryable:
            raise error
        self.error = error
        self.failures.append(str(error))
        text, timeline = self._pending
        start_s = self.committed_s
        if text:
            await self._keep_pending(text, timeline)
        self.missing.append(self._gap(start_s, max(end_s, start_s), str(error)))

    async def _keep_pending(self, text: str, timeline: Timeline) -> Gap:
        """Keep a last partial the service never committed; returns the stretch it stands for."""
        segment = self._numbered(self._assembler.uncommitted(text, timeline))
        await self._keep(segment)
        return self._gap(segment.start, segment.end, "the service never committed it")

    def _numbered(self, segment: Segment) -> Segment:
        if not self.number and self.channel is None:
            return segment
        return segment.model_copy(update={"section": self.number, "channel": self.channel})

    def _gap(self, start_s: float, end_s: float, reason: str) -> Gap:
        return Gap(start=round(start_s, 3), end=round(end_s, 3), channel=self.channel, reason=reason)


def _backoff_s(failures: int) -> float:
    """Exponential with full jitter, so that sessions that failed together do not come back together."""
    least_s, most_s = BACKOFF_S
    return random.uniform(least_s, min(most_s, least_s * 2**failures))  # noqa: S311
