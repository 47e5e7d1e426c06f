"""One job from its source to its transcript: the whole flow on one screen.

source -> plan -> sections, several at a time: blocks -> mono -> wire rate -> frames -> paced session(s) -> commits
-> segments -> merged -> transcript
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from typing import Final

from worker.audio.recording import Recording
from worker.audio.segmentation.speech_detector import silero
from worker.pipeline.coverage import facts_of, progress_of
from worker.pipeline.job import Earlier, Job, JobLog
from worker.pipeline.planning_thread import check_length, open_planned
from worker.pipeline.section import Section
from worker.pipeline.session_sequence import Service
from worker.pipeline.source_change_check import ContentGuard, guarded
from worker.pipeline.speech_check import speech_share
from worker.realtime.rate_control import SpeedControl, is_unlimited
from worker.realtime.slots import Slots, Unlimited
from worker.realtime.streaming import Endpoint
from worker.settings import Settings
from worker.storage.address import show
from worker.storage.sources.download import Local, fetched
from worker.transcript.document import compose
from worker.transcript.merge import merge_channels
from worker.transcript.model import Segment, Transcript

PROGRESS_EVERY_S: Final = 0.25


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
        endpoint = Endpoint(settings.url, settings.api_key)
        detector = silero if settings.speech_detector == "auto" else lambda: None
        self._service = Service(endpoint, settings, self._speed, slots, detector)
        self._segments = list(job.earlier.committed)
        self._sections: list[Section] = []
        self._next_progress = 0.0
        self._duration_s = 0.0
        self._channels = 1
        self._guard: ContentGuard | None = None

    async def run(self) -> Transcript:
        job = self._job
        async with (
            fetched(str(job.source), self._settings) as local,
            guarded(job, local, self._log) as self._guard,
        ):
            return await self._transcribe(local, self._guard)

    async def _transcribe(self, local: Local, guard: ContentGuard) -> Transcript:
        job = self._job
        settings, plans = self._settings, job.earlier.plans
        with await open_planned(local.file, settings, job.sessions, job.skip_silence, plans, job.channels) as source:
            if plans is None and job.earlier.committed:
                # Single channels and chosen tracks are planned before the first commit. Without a plan all were mixed.
                source.wanted.check_goes_on((None,), [plan.channel for plan in source.plans], local.file)
            self._duration_s, self._channels = source.duration_s, len(source.plans)
            if plans is None and (source.plans[0].measured or source.fell_back or source.wanted.track is not None):
                await self._log.planned(source.plans)
            await self._stream(source)
            share = await speech_share(source, self._segments, self._service.detector)
            facts = facts_of(job, source, local, await guard.end(), self._service, self._sections, self._started, share)
            handovers = [s.handover / source.rate if s.overlap_before else None for _, s in source.sections]
            segments = merge_channels(self._segments, handovers, source.channels)
        return compose(segments, facts)

    async def _stream(self, source: Recording) -> None:
        """All sections that are not finished, in order, some at a time."""
        job, segments = self._job, self._segments
        self._sections = [
            Section(
                job.id,
                self._service,
                number,
                section,
                channel=source.wanted.name(plan.channel),
                committed=[s for s in segments if s.section == number],
                keep=self._keep,
                report=self._report_sometimes,
            )
            for number, (plan, section) in enumerate(source.sections)
            if number not in job.earlier.finished
        ]
        await self._report("")
        waiting = iter(sorted(self._sections, key=lambda section: section.plan.start))
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
            end_s = section.plan.end / source.rate
            if hopeless := next((s.error for s in self._sections if s.error), None):
                section.abandon(hopeless, end_s)
                continue
            feed = await asyncio.to_thread(source.feed, section.number, self._frame_samples())
            await section.run(feed, end_s)
            if feed.exhausted:
                source.read_to_the_end(section.number)
            again = partial(source.feed_again, section.number, self._frame_samples())
            await section.complete(again, source.sections[section.number][1].end / source.rate)
            if not section.missing and len(source.sections) > 1:
                await self._log.finished(section.number, section.account())

    def _frame_samples(self) -> int:
        settings = self._settings
        frame_s = settings.frame_max_s if is_unlimited(self._job.speed) else settings.frame_s
        return int(frame_s * settings.sample_rate)

    async def _keep(self, segment: Segment) -> None:
        if self._guard is not None:
            self._guard.check_size()
        await self._log.commit(segment)
        self._segments.append(segment)
        await self._report("")

    async def _report_sometimes(self, partial: str) -> None:
        if self._loop.time() >= self._next_progress:
            await self._report(partial)

    async def _report(self, partial: str) -> None:
        now = self._loop.time()
        self._next_progress = now + PROGRESS_EVERY_S
        # A header may have said less than there is.
        check_length(max((s.sent_s for s in self._sections), default=0.0), show(str(self._job.source)), self._settings)
        speed = self._speed.current(now)
        await self._log.progress(
            progress_of(self._sections, self._duration_s, self._settings.sample_rate, speed, partial, self._channels)
        )


__all__ = ["Earlier", "Job", "JobLog", "run"]
