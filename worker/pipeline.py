"""One job from its source to its transcript: the whole flow on one screen.

source -> blocks -> mono -> wire rate -> frames -> paced session(s) -> commits -> segments -> transcript -> files
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from worker.audio.decode import AudioSource, open_source
from worker.audio.feed import FrameFeed
from worker.audio.source import sha256_file
from worker.progress import Progress
from worker.realtime.governor import Slots, Unlimited
from worker.realtime.speed import SpeedControl, is_unlimited
from worker.realtime.streaming import Endpoint
from worker.section import Section, Service
from worker.settings import Settings, Speed
from worker.storage import outputs
from worker.storage.outputs import Outputs
from worker.transcript.compose import Facts, compose
from worker.transcript.model import Segment, SpeedFall, Transcript

PROGRESS_EVERY_S: Final = 0.25


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
        self._settings = settings
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._started = self._loop.time()
        self._speed = SpeedControl(job.speed, self._started)
        self._service = Service(Endpoint(settings.url, settings.api_key), settings, self._speed, slots)
        self._segments = list(job.committed)
        self._section = Section(
            job.id, self._service, committed=job.committed, keep=self._keep, report=self._report_sometimes
        )
        self._next_progress = 0.0
        self._length_s = 0.0

    async def run(self) -> Transcript:
        job = self._job
        # Both read the file, which takes a moment where it is long.
        sha256 = await asyncio.to_thread(sha256_file, job.source)
        with await asyncio.to_thread(open_source, job.source) as source:
            self._length_s = source.info.duration_s or 0.0
            await self._report("")
            feed = FrameFeed(source, self._settings.sample_rate, self._frame_samples())
            await self._section.run(feed, self._length_s)
            facts = self._facts(source, sha256, exhausted=feed.exhausted)
        transcript = compose(self._segments, facts)
        if job.out is not None:
            await asyncio.to_thread(outputs.write, transcript, job.out)
        return transcript

    def _frame_samples(self) -> int:
        settings = self._settings
        frame_s = settings.frame_max_s if is_unlimited(self._job.speed) else settings.frame_s
        return int(frame_s * settings.sample_rate)

    def _facts(self, source: AudioSource, sha256: str, *, exhausted: bool) -> Facts:
        job, section = self._job, self._section
        if exhausted:  # only now the true length is known
            self._length_s = source.frames_decoded / source.info.sample_rate
        falls = [
            SpeedFall(speed=c.speed, after=round(c.at_s - self._started, 1), reason=c.reason)
            for c in self._speed.changes
        ]
        return Facts(
            job_id=job.id,
            path=job.source,
            sha256=sha256,
            size_bytes=job.source.stat().st_size,
            info=source.info,
            duration_s=self._length_s,
            warnings=source.warnings,
            language=job.language,
            speed=job.speed,
            speed_falls=tuple(falls),
            failures=tuple(section.failures),
            wire_rate=self._settings.sample_rate,
            sections=(section.account(self._length_s),),
            missing=tuple(section.missing),
            endpoint=self._settings.url,
            sessions=tuple(section.sessions),
            sent_s=section.sent_s,
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
        section = self._section
        progress = Progress(
            duration_s=self._length_s,
            sent_s=section.sent_s,
            committed_s=section.committed_s,
            partial=partial,
            speed=self._speed.current(now),
            trouble=section.failures[-1] if section.failures else "",
        )
        await self._log.progress(progress)
