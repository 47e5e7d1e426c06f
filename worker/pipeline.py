"""One job from its source to its transcript: the whole flow on one screen.

source -> plan -> sections, several at a time: blocks -> mono -> wire rate -> frames -> paced session(s) -> commits
-> segments -> merged -> transcript
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from worker.audio.recording import Recording
from worker.audio.sections import Plan
from worker.audio.source import sha256_file
from worker.planning import check_length, open_planned
from worker.progress import Progress
from worker.realtime.governor import Slots, Unlimited
from worker.realtime.speed import SpeedControl, is_unlimited
from worker.realtime.streaming import Endpoint
from worker.section import Section, Service
from worker.settings import Settings, Speed
from worker.storage.address import show
from worker.storage.fetch import Local, fetched
from worker.transcript.compose import Facts, compose
from worker.transcript.merge import merge
from worker.transcript.model import SectionFacts, Segment, SpeedFall, Transcript

PROGRESS_EVERY_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts of a job left; this one goes on after it."""

    plan: Plan | None = None
    finished: Mapping[int, SectionFacts] = field(default_factory=dict)
    """Sections that need nothing more, by their number."""
    committed: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs to know."""

    id: str
    source: str | Path
    """A path, or an address as in `worker.storage.address`."""
    speed: Speed
    language: str | None
    """Written into the transcript when the service names none."""
    start_speed: float | None = None
    """What `auto` begins with; None for real time."""
    sessions: int = 1
    """Sections that may be streamed at the same time."""
    skip_silence: bool = False
    earlier: Earlier = Earlier()


class JobLog(Protocol):
    """Where a run reports. All may raise, which ends the run."""

    async def planned(self, plan: Plan) -> None:
        """Make the plan durable, before anything is committed."""

    async def commit(self, segment: Segment) -> None:
        """Make a segment durable; the run goes on only when this returned."""

    async def finished(self, section: int, facts: SectionFacts) -> None:
        """Make it durable that a section needs nothing more."""

    async def progress(self, progress: Progress) -> None: ...


async def run(job: Job, *, settings: Settings, log: JobLog, slots: Slots | None = None) -> Transcript:
    """Transcribe one source. Every session waits for one of `slots`, if there are any to share.

    Raises SttError; on cancellation the sessions are closed first.
    """
    return await _Run(job, settings, log, slots or Unlimited()).run()


class _Run:
    def __init__(self, job: Job, settings: Settings, log: JobLog, slots: Slots) -> None:
        self._job = job
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._speed = SpeedControl(job.speed, self._started, job.start_speed)
        self._service = Service(Endpoint(settings.url, settings.api_key), settings, self._speed, slots)
        self._segments = list(job.earlier.committed)
        self._sections: list[Section] = []
        self._next_progress = 0.0
        self._duration_s = 0.0

    async def run(self) -> Transcript:
        async with fetched(str(self._job.source), self._settings) as local:
            return await self._transcribe(local)

    async def _transcribe(self, local: Local) -> Transcript:
        job = self._job
        sha256 = await asyncio.to_thread(sha256_file, local.path)
        with await open_planned(local.path, self._settings, job.sessions, job.skip_silence, job.earlier.plan) as source:
            self._duration_s = source.duration_s
            if source.plan.measured and job.earlier.plan is None:
                await self._log.planned(source.plan)
            await self._stream(source)
            facts = self._facts(source, local, sha256)
            handovers = [s.handover / source.plan.rate if s.overlap_before else None for s in source.plan.sections]
        return compose(merge(self._segments, handovers), facts)

    async def _stream(self, source: Recording) -> None:
        """All sections that are not finished, in order, some at a time."""
        job, segments = self._job, self._segments
        self._sections = [
            Section(
                job.id,
                self._service,
                number,
                plan,
                committed=[s for s in segments if s.section == number],
                keep=self._keep,
                report=self._report_sometimes,
            )
            for number, plan in enumerate(source.plan.sections)
            if number not in job.earlier.finished
        ]
        await self._report("")
        waiting = iter(self._sections)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(job.sessions, len(self._sections))):
                    group.create_task(self._stream_next(source, waiting))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        if (failures := [s.error for s in self._sections if s.error]) and not self._segments:
            raise failures[0]

    async def _stream_next(self, source: Recording, waiting: Iterator[Section]) -> None:
        """One section after the other, as long as some wait."""
        for section in waiting:
            end_s = section.plan.end / source.plan.rate
            if hopeless := next((s.error for s in self._sections if s.error), None):
                section.abandon(hopeless, end_s)
                continue
            feed = await asyncio.to_thread(source.feed, section.plan, self._frame_samples())
            await section.run(feed, end_s)
            if feed.exhausted:
                source.read_to_the_end()
            if not section.missing and len(source.plan.sections) > 1:
                await self._log.finished(section.number, section.account())

    def _frame_samples(self) -> int:
        settings = self._settings
        frame_s = settings.frame_max_s if is_unlimited(self._job.speed) else settings.frame_s
        return int(frame_s * settings.sample_rate)

    def _facts(self, source: Recording, local: Local, sha256: str) -> Facts:
        job, plan = self._job, source.plan
        accounts = dict(job.earlier.finished) | {
            s.number: s.account(plan.sections[s.number].end) for s in self._sections
        }
        sent = (plan.streamed(section, accounts[n].sent) for n, section in enumerate(plan.sections))
        falls = [
            SpeedFall(speed=c.speed, after=round(c.at_s - self._started, 1), reason=c.reason)
            for c in self._speed.changes
        ]
        return Facts(
            job_id=job.id,
            name=local.name,
            path=local.shown,
            sha256=sha256,
            size_bytes=local.path.stat().st_size,
            info=source.info,
            duration_s=source.duration_s,
            warnings=source.warnings,
            language=job.language,
            speed=job.speed,
            speed_reached=self._speed.current(self._loop.time()),
            speed_falls=tuple(falls),
            failures=tuple(text for s in self._sections for text in s.failures),
            wire_rate=plan.rate,
            sections=tuple(accounts[number] for number in sorted(accounts)),
            skipped=tuple((start / plan.rate, end / plan.rate) for start, end in plan.skipped),
            detector=plan.detector,
            price_per_hour=self._settings.price_per_hour,
            missing=tuple(gap for s in self._sections for gap in s.missing),
            endpoint=self._settings.url,
            sessions=tuple(facts for s in self._sections for facts in s.sessions),
            sent_s=sum(sent) / plan.rate,
            elapsed_s=self._loop.time() - self._started,
        )

    async def _keep(self, segment: Segment) -> None:
        await self._log.commit(segment)
        self._segments.append(segment)
        await self._report("")

    async def _report_sometimes(self, partial: str) -> None:
        if self._loop.time() >= self._next_progress:
            await self._report(partial)

    async def _report(self, partial: str) -> None:
        now = self._loop.time()
        self._next_progress = now + PROGRESS_EVERY_S
        rate = self._settings.sample_rate
        # A header may have said less than there is.
        check_length(max((s.sent_s for s in self._sections), default=0.0), show(str(self._job.source)), self._settings)
        accounts = [s.account() for s in self._sections]
        open_s, sent_s, committed_s = (
            sum(end - a.start for a, end in zip(accounts, ends, strict=True)) / rate
            for ends in ([a.end for a in accounts], [a.sent for a in accounts], [a.committed for a in accounts])
        )
        done_s = max(0.0, self._duration_s - open_s)  # finished before, or skipped
        failures = [text for s in self._sections for text in s.failures[-1:]]
        progress = Progress(
            duration_s=self._duration_s,
            sent_s=done_s + sent_s,
            committed_s=done_s + committed_s,
            partial=partial,
            speed=self._speed.current(now),
            trouble=failures[-1] if failures else "",
        )
        await self._log.progress(progress)
