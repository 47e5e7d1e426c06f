"""Streams the stretches of a section that have no text a second time, and lists those that get none again.

A service can stop transcribing and still answer: it repeats its last text, commits nothing and closes normally. So
only text at the times of the speech proves that it works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from worker.audio.frame_feed import FrameFeed
from worker.audio.segmentation.speech_or_noise import SoundRange, find_sounds
from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.errors import EndpointError
from worker.pipeline.session_sequence import SectionSessions, Service, SessionSequence
from worker.transcript.model import MIN_MISSING_S, Segment, UnansweredSound
from worker.transcript.second_pass_text import new_part
from worker.transcript.unanswered_ranges import UnansweredRange, unanswered_ranges, without_skipped

logger = structlog.get_logger(__name__)

CONTEXT_S: Final = 0.5
"""Seconds streamed before and after a stretch, if they have no text either."""
SAME_RANGE_TOLERANCE_S: Final = 0.3
"""Seconds by which a stretch may extend beyond another one and still count as the same."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Sound without text, in file seconds; `unanswered_range`: the whole stretch without text around it."""

    start: float
    end: float
    unanswered_range: UnansweredRange
    found: SoundRange

    @property
    def worth_streaming(self) -> bool:
        """Whether it may be speech. Detectors miss some voices, so sound with pauses like speech counts as well."""
        return self.found.kind != "noise" or self.found.pauses


@dataclass(frozen=True, slots=True)
class _FailedTry:
    """A stretch that was streamed again without any new text."""

    start: float
    end: float
    error: EndpointError | None

    def covers(self, stretch: _Candidate) -> bool:
        return self.start - SAME_RANGE_TOLERANCE_S <= stretch.start and stretch.end <= self.end + SAME_RANGE_TOLERANCE_S


class SecondPass:
    """Runs after the first pass of one section. `segments`: all segments of the section; the caller appends the
    segments that `commit` receives."""

    def __init__(
        self,
        service: Service,
        record: SectionSessions,
        open_feed: Callable[[], FrameFeed],
        voiced: VoiceActivityHistory,
        *,
        segments: Sequence[Segment],
        commit: Callable[[Segment], Awaitable[None]],
        report: Callable[[str], None],
    ) -> None:
        self._service = service
        self._record = record
        self._open_feed = open_feed
        self._feed: FrameFeed | None = None
        self._rate = service.settings.sample_rate
        self._voiced = voiced
        self._paced = service.speed.asked == 1.0
        self._segments = segments
        self._commit = commit
        self._report = report
        self._looked: dict[tuple[float, float], list[SoundRange]] = {}
        self._tries: list[_FailedTry] = []
        self._streamed: list[tuple[float, float]] = []
        self._known: list[tuple[float, float]] = []  # stretches whose text already existed

    async def run(self, start_s: float, end_s: float, pending: Segment | None) -> Segment | None:
        """Stream the stretches without text between two file seconds once more. `pending`: text in progress that the
        first pass left uncommitted at the end. Returns the text that is still uncommitted.

        The rest of a stretch that got new text counts as another stretch: a service that stops transcribing after some
        seconds of each session advances with each."""
        for _ in range(self._service.settings.session_retries + 1):
            found = [s for s in await self._find(start_s, end_s, pending) if s.worth_streaming]
            again = [s for s in found if self._may_stream(s)]
            for stretch in again:
                left, new_text, error = await self._stream(stretch)
                if pending is not None and stretch.unanswered_range.last:
                    pending = left if new_text else left or pending
                if error is not None:
                    return pending
            if not again:
                break
        return pending

    def _may_stream(self, stretch: _Candidate) -> bool:
        """Whether to stream it: not after a try without new text, nor if it is a short rest of a stretch with text."""
        if any(one.covers(stretch) for one in self._tries):
            return False
        return not self._times_streamed(stretch) or stretch.found.seconds >= MIN_MISSING_S

    def _times_streamed(self, stretch: _Candidate) -> int:
        return sum(start < stretch.end and stretch.start < end for start, end in self._streamed)

    async def unanswered(self, start_s: float, end_s: float) -> list[UnansweredSound]:
        """The stretches that still have no text."""
        return [self._unanswered(stretch) for stretch in await self._find(start_s, end_s, None)]

    async def _find(self, start_s: float, end_s: float, pending: Segment | None) -> list[_Candidate]:
        segments = [s for s in self._segments if s.committed]
        stretches = []
        for unanswered_range in unanswered_ranges(segments, start_s, end_s, self._voiced, paced=self._paced):
            feed = await self._opened()
            for part in without_skipped(unanswered_range, partial(self._streamed_parts, feed)):
                found = await self._look(part)
                if part.last and pending is not None and not any(one.kind == "speech" for one in found):
                    # Text in progress shows that the service found speech.
                    length_s = part.end - part.start
                    found = [SoundRange(0.0, length_s, "speech", round(length_s, 3), pauses=True)]
                stretches += [_Candidate(part.start + s.start, part.start + s.end, unanswered_range, s) for s in found]
        return [s for s in stretches if not any(a <= s.start and s.end <= b for a, b in self._known)]

    async def _opened(self) -> FrameFeed:
        """The feed of the second pass. It is opened for the first stretch, because few jobs have any."""
        if self._feed is None:
            self._feed = await asyncio.to_thread(self._open_feed)
        return self._feed

    def _streamed_parts(self, feed: FrameFeed, start_s: float, end_s: float) -> list[tuple[float, float]]:
        parts = feed.within(round(start_s * self._rate), round(end_s * self._rate))
        return [(first / self._rate, last / self._rate) for first, last in parts]

    async def _look(self, part: UnansweredRange) -> list[SoundRange]:
        """Decode a stretch and find the sounds in it."""
        place = (part.start, part.end)
        if place not in self._looked:
            found = await (await self._opened()).scan(part.start, part.end, self._service.detector())
            self._looked[place] = find_sounds(found, last=part.last)
        return self._looked[place]

    async def _stream(self, stretch: _Candidate) -> tuple[Segment | None, bool, EndpointError | None]:
        """Stream one stretch again. Returns its text in progress at the end, whether there was any new text, and the
        error that ended it."""
        first_s, last_s = stretch.unanswered_range.start, stretch.unanswered_range.end
        start_s, end_s = max(first_s, stretch.start - CONTEXT_S), min(last_s, stretch.end + CONTEXT_S)
        logger.warning("no text for a stretch", job=self._record.job_id, start=start_s, end=end_s, again=True)
        before = sorted(self._segments, key=lambda segment: segment.start)
        answers = 0

        async def commit_new(segment: Segment) -> None:
            nonlocal answers
            new = new_part(segment, before, first_s, last_s, paced=self._paced)
            if new is not None:
                answers += 1
                await self._commit(new)
            elif not segment.words:
                answers += 1
                self._known.append((start_s, end_s))

        streamer = SessionSequence(
            self._service,
            self._record,
            start_s,
            voiced=VoiceActivityHistory(self._rate),
            commit=commit_new,
            report=self._report,
        )
        self._streamed.append((start_s, end_s))
        error = await streamer.run(await self._opened(), round(end_s * self._rate))
        if not answers:
            self._tries.append(_FailedTry(start_s, end_s, error))
        return streamer.uncommitted, answers > 0, error

    def _unanswered(self, stretch: _Candidate) -> UnansweredSound:
        again = self._times_streamed(stretch)
        error = next((one.error for one in self._tries if one.error and one.covers(stretch)), None)
        return UnansweredSound(
            start=round(stretch.start, 3),
            end=round(stretch.end, 3),
            channel=self._record.channel,
            sound=stretch.found.kind,
            seconds=stretch.found.seconds,
            sessions=1 + again,
            reason=str(error) if error else _reason(stretch.found.kind, again=again > 0),
        )


def _reason(kind: str, *, again: bool) -> str:
    sound = {"speech": "speech", "noise": "noise or music", "unknown": "sound"}[kind]
    return f"the service gave no text for {sound}" + (", also when it was streamed again" if again else "")
