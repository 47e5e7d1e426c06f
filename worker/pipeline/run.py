"""Runs one job from its source to its transcript.

source -> plan -> sections -> merged segments -> transcript
each section, several at a time: blocks of samples -> mono -> sample rate of the session -> frames -> session(s)
-> commits -> segments
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from worker.audio.recording import Recording
from worker.audio.segmentation.section_plan import plans_json
from worker.audio.segmentation.silero_model import silero
from worker.errors import SessionLost
from worker.pipeline.coverage import run_facts
from worker.pipeline.job import Job, JobLog, RunListener
from worker.pipeline.planning_thread import open_planned
from worker.pipeline.run_progress import RunProgress
from worker.pipeline.section import Section
from worker.pipeline.session_option_results import SessionOptionResults
from worker.pipeline.session_sequence import Service
from worker.pipeline.source_change_check import ContentGuard, guarded
from worker.pipeline.speech_check import speech_share
from worker.pipeline.streaming_clock import StreamingClock
from worker.realtime.rate_control import RateControl, is_unlimited
from worker.realtime.slots import Slots, UnlimitedSlots
from worker.realtime.streaming import ServiceAddress
from worker.secret_masking import masker_of
from worker.settings import Settings
from worker.storage.sources.download import LocalSource, local_copy
from worker.transcript.document import compose
from worker.transcript.glossary import correct_segments
from worker.transcript.merge_sections import merge_channels
from worker.transcript.model import Segment, Streamed, Transcript
from worker.transcript.subtitles.chinese_words import is_word, word_begins


async def run(
    job: Job, *, settings: Settings, log: JobLog, listener: RunListener, slots: Slots | None = None
) -> Transcript:
    """Transcribe one source.

    `slots`: shared limit of open sessions, or None for no limit. Raises SttError. A cancelled call ends when its
    sessions are closed.
    """
    return await _JobRun(job, settings, log, listener, slots or UnlimitedSlots()).run()


class _JobRun:
    def __init__(self, job: Job, settings: Settings, log: JobLog, listener: RunListener, slots: Slots) -> None:
        self._job = job
        self._settings = settings
        self._log = log
        self._started = asyncio.get_running_loop().time()
        self._speed = RateControl(job.speed, self._started, job.start_speed)
        endpoint = ServiceAddress(settings.url, settings.api_key)
        options = SessionOptionResults(job.session_options, masker_of(settings))
        # Passed as a function, because creating the detector loads a model, and only jobs with doubtful text need the
        # model.
        detector = silero if settings.speech_detector == "auto" else lambda: None
        self._clock = StreamingClock(slots)
        self._service = Service(endpoint, settings, self._speed, self._clock, options, detector)
        self._progress = RunProgress(listener, settings, self._speed, job.source.shown)
        self._sections: list[Section] = []

    async def run(self) -> Transcript:
        job = self._job
        async with (
            local_copy(job.source, self._settings) as local,
            guarded(job, local, self._log) as guard,
        ):
            return await self._transcribe(local, guard)

    async def _transcribe(self, local: LocalSource, guard: ContentGuard) -> Transcript:
        job = self._job
        settings, plans = self._settings, job.resume.plans
        with await open_planned(local.file, settings, job.sessions, job.skip_silence, plans, job.channels) as source:
            if plans is None and job.resume.committed:
                # Runs with separate channels or a selected track record their plans before the first commit. Without
                # recorded plans, the earlier attempt mixed all channels, so this attempt must also mix them.
                source.selection.check_unchanged((None,), [plan.channel for plan in source.plans], local.file)
            if plans is None and (
                source.plans[0].measured or source.streamed_whole or source.selection.track is not None
            ):
                await self._log.record_plans(plans_json(source.plans))
            await self._stream(source, guard)
            segments = self._segments()
            share = await speech_share(source, segments, self._service.detector)
            streamed = Streamed(audio=round(self._progress.sent_s, 3), time=round(self._clock.streaming_s, 3))
            facts = run_facts(
                job, source, local, await guard.end(), self._service, self._sections, self._started, share, streamed
            )
            # Sections that overlap contain some words twice. From the handover on, the words of the later section are
            # used.
            handovers = [s.handover / source.rate if s.overlap_before else None for _, s in source.sections]
            merged = merge_channels(segments, handovers, source.channels)
        if job.glossary:
            # Run in a thread, because the first use of the lexicon takes about a second, which would delay all live
            # sessions.
            merged = await asyncio.to_thread(correct_segments, merged, job.glossary, word_begins, is_word)
        # In a thread, too: for a long transcript the checks of the text take long, and other sessions must not wait.
        return await asyncio.to_thread(compose, merged, facts)

    async def _stream(self, source: Recording, guard: ContentGuard) -> None:
        """Stream all unfinished sections in order of time, up to `job.sessions` at the same time."""
        job = self._job
        self._sections = [
            Section(
                job.id,
                self._service,
                number,
                section,
                channel=source.selection.name(plan.channel),
                committed=[s for s in job.resume.committed if s.section == number],
                log=self._log,
                guard=guard,
                progress=self._progress,
                store_audio=source.is_slow_to_reread,
            )
            for number, (plan, section) in enumerate(source.sections)
            # Numbers refer to the recorded plans, so they stay valid over attempts.
            if number not in job.resume.finished
        ]
        self._progress.start(self._sections, source.duration_s, len(source.plans))
        # Sections are streamed in order of time, so that a reader of the growing transcript sees the beginning first.
        waiting = iter(sorted(self._sections, key=lambda section: section.plan.start))
        try:
            async with asyncio.TaskGroup() as group:
                count = min(job.sessions, len(self._sections))
                streams = [group.create_task(self._stream_next(source, waiting)) for _ in range(count)]
        except ExceptionGroup as failed:
            # The first error is the cause; the other tasks were cancelled because of it.
            raise failed.exceptions[0] from None
        # A task group treats a task that raises CancelledError by itself as finished. Its audio would be missing.
        if any(stream.cancelled() for stream in streams):
            raise SessionLost("a session was stopped before the end of its audio")
        # After a failure of the service, the job is incomplete if it has some text, and fails if it has none.
        if (failures := [s.error for s in self._sections if s.error]) and not self._segments():
            raise failures[0]

    async def _stream_next(self, source: Recording, waiting: Iterator[Section]) -> None:
        """Stream sections from `waiting`, one after the other. Several tasks share the iterator."""
        for section in waiting:
            end_s = section.plan.end / source.rate
            # Another section has used up its retries because the service failed. The service would fail for this
            # section as well.
            if service_error := next((s.error for s in self._sections if s.error), None):
                section.abandon(service_error, end_s)
                continue
            feed = await asyncio.to_thread(source.feed, section.number, self._frame_samples())
            await section.run(feed, end_s)
            # The headers of many files declare a wrong length. The number of decoded samples is the correct length.
            if feed.exhausted:
                source.measure_length(section.number)
            again = partial(source.second_feed, section.number, self._frame_samples())
            await section.complete(
                again, source.pieces(section.number), source.sections[section.number][1].end / source.rate
            )
            # An incomplete section is streamed again by the next attempt, so it is not recorded as finished.
            if not section.missing and len(source.sections) > 1:
                await self._log.record_section(section.number, section.account())

    def _frame_samples(self) -> int:
        settings = self._settings
        # At unlimited speed, larger frames save CPU: the cost of a message does not depend on its length.
        frame_s = settings.frame_max_s if is_unlimited(self._job.speed) else settings.frame_s
        return int(frame_s * settings.sample_rate)

    def _segments(self) -> list[Segment]:
        """Return all segments in the job's log, in any order."""
        streamed = {section.number for section in self._sections}
        others = [segment for segment in self._job.resume.committed if segment.section not in streamed]
        return [*others, *(segment for section in self._sections for segment in section.segments)]
