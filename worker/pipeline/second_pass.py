"""Finds the sound of a section for which the service gave no text, streams it again, and lists the sound that still has
no text.

A service can stop transcribing and still answer: it repeats its last text, commits nothing and closes normally. So
only text at the times of the speech shows that the speech was transcribed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from worker.audio.frame_feed import FrameFeed, Piece, within
from worker.audio.recent_audio import RecentAudio
from worker.audio.segmentation.scan import Scan
from worker.audio.segmentation.speech_or_noise import SoundRange, find_sounds, is_too_short
from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.errors import EndpointError
from worker.pipeline.session_sequence import SectionRecord, Service, SessionSequence
from worker.transcript.model import MIN_MISSING_S, Segment, UnansweredSound
from worker.transcript.second_pass_text import new_part
from worker.transcript.unanswered_ranges import UnansweredRange, unanswered_ranges, without_skipped

logger = structlog.get_logger(__name__)

CONTEXT_S: Final = 0.5
"""Seconds of audio streamed before and after a sound, if they have no text either."""
SAME_RANGE_TOLERANCE_S: Final = 0.3
"""Seconds by which a sound may extend beyond a range that was streamed again and still count as inside it."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A sound without text, as positions in the file, in seconds. `unanswered_range`: the longer range without text
    that contains the sound."""

    start: float
    end: float
    unanswered_range: UnansweredRange
    found: SoundRange

    @property
    def worth_streaming(self) -> bool:
        """Whether the sound may be speech, and so is streamed again. Any sound with pauses like those of speech is,
        because speech detectors miss some voices."""
        return self.found.kind != "noise" or self.found.pauses


@dataclass(frozen=True, slots=True)
class _FailedTry:
    """A range that was streamed again without any new text, as positions in the file, in seconds. `error`: the error
    that ended its sessions, or None."""

    start: float
    end: float
    error: EndpointError | None

    def covers(self, candidate: _Candidate) -> bool:
        return (
            self.start - SAME_RANGE_TOLERANCE_S <= candidate.start
            and candidate.end <= self.end + SAME_RANGE_TOLERANCE_S
        )


class SecondPass:
    """The second pass over one section. Call `run`, then `unanswered`."""

    def __init__(
        self,
        service: Service,
        record: SectionRecord,
        open_feed: Callable[[], FrameFeed],
        pieces: Sequence[Piece],
        voiced: VoiceActivityHistory,
        recent: RecentAudio | None,
        *,
        segments: Sequence[Segment],
        commit: Callable[[Segment], Awaitable[None]],
        report: Callable[[str], None],
    ) -> None:
        """`open_feed`: opens the audio of the section again. `pieces`: the ranges of the source that the section
        streams. `voiced`: voice activity of the first pass. `recent`: the last audio of the first pass, if it was
        stored. `segments`: all segments of the section; `commit` must append each segment that it receives. `report`:
        receives text that the service has not committed yet."""
        self._service = service
        self._record = record
        self._open_feed = open_feed
        self._feed: FrameFeed | None = None
        self._pieces = pieces
        self._recent = recent
        self._rate = service.settings.sample_rate
        self._voiced = voiced
        self._paced = service.speed.asked == 1.0
        self._segments = segments
        self._commit = commit
        self._report = report
        self._sounds: dict[tuple[float, float], list[SoundRange]] = {}
        self._tries: list[_FailedTry] = []
        self._streamed: list[tuple[float, float]] = []
        self._known: list[tuple[float, float]] = []  # ranges for which the service repeated text that already existed

    async def run(self, start_s: float, end_s: float, pending: Segment | None) -> Segment | None:
        """Stream the sounds without text again that are between `start_s` and `end_s`, two positions in the file, in
        seconds.

        `pending`: the last partial text of the first pass, if the service never committed that text, otherwise None.
        Returns the text that is still not committed at the end of the second pass, or None.

        The search for sounds without text is repeated after each try that gave new text. A service may stop
        transcribing after some seconds of each session; then each try transcribes a further part of the sound."""
        for _ in range(self._service.settings.session_retries + 1):
            # Each round searches again, because new text may belong to other sounds as well.
            found = [s for s in await self._find(start_s, end_s, pending) if s.worth_streaming]
            again = [s for s in found if self._may_stream(s)]
            for candidate in again:
                left, new_text, error = await self._stream(candidate)
                if pending is not None and candidate.unanswered_range.last:
                    pending = left if new_text else left or pending
                # The retries are used up. Further sessions would fail for the same reason.
                if error is not None:
                    return pending
            if not again:
                break
        return pending

    def _may_stream(self, candidate: _Candidate) -> bool:
        """Whether to stream a sound again. Returns False if an earlier try gave no new text, or if the sound is only a
        short rest of a sound that was streamed again."""
        if any(one.covers(candidate) for one in self._tries):
            return False
        return not self._times_streamed(candidate) or candidate.found.seconds >= MIN_MISSING_S

    def _times_streamed(self, candidate: _Candidate) -> int:
        return sum(start < candidate.end and candidate.start < end for start, end in self._streamed)

    async def unanswered(self, start_s: float, end_s: float) -> list[UnansweredSound]:
        """Return the sounds between `start_s` and `end_s` (positions in the file, in seconds) that still have no
        text."""
        return [self._unanswered(candidate) for candidate in await self._find(start_s, end_s, None)]

    async def _find(self, start_s: float, end_s: float, pending: Segment | None) -> list[_Candidate]:
        # Uncommitted text is not final and explains no sound.
        segments = [s for s in self._segments if s.committed]
        candidates = []
        for unanswered_range in unanswered_ranges(segments, start_s, end_s, self._voiced, paced=self._paced):
            for part in without_skipped(unanswered_range, self._streamed_parts):
                found = await self._sounds_in(part)
                if part.last and pending is not None and not any(one.kind == "speech" for one in found):
                    # The uncommitted text shows that the service found speech here, even if no detector finds any.
                    length_s = part.end - part.start
                    found = [SoundRange(0.0, length_s, "speech", round(length_s, 3), pauses=True)]
                candidates += [_Candidate(part.start + s.start, part.start + s.end, unanswered_range, s) for s in found]
        return [s for s in candidates if not any(a <= s.start and s.end <= b for a, b in self._known)]

    async def _opened_feed(self) -> FrameFeed:
        """Return the feed of the second pass. It is opened on first use, because few jobs need it."""
        if self._feed is None:
            # In a thread, because opening may decode up to the position of the section.
            self._feed = await asyncio.to_thread(self._open_feed)
        return self._feed

    def _streamed_parts(self, start_s: float, end_s: float) -> list[tuple[float, float]]:
        parts = within(self._pieces, round(start_s * self._rate), round(end_s * self._rate))
        return [(first / self._rate, last / self._rate) for first, last in parts]

    async def _sounds_in(self, part: UnansweredRange) -> list[SoundRange]:
        """Find the sounds in a range without text."""
        if is_too_short(part.end - part.start, last=part.last):
            return []
        place = (part.start, part.end)
        # Cached, because each search would decode and examine the same audio.
        if place not in self._sounds:
            self._sounds[place] = find_sounds(await self._scan(part.start, part.end), last=part.last)
        return self._sounds[place]

    async def _scan(self, start_s: float, end_s: float) -> Scan:
        detector = self._service.detector()
        if self._recent is not None and self._recent.contains(start_s, end_s):
            return await asyncio.to_thread(self._recent.scan, start_s, end_s, detector)
        return await (await self._opened_feed()).scan(start_s, end_s, detector)

    async def _stream(self, candidate: _Candidate) -> tuple[Segment | None, bool, EndpointError | None]:
        """Stream one sound again. Returns the partial text that the service had not committed at the end, whether the
        service committed any text for the sound, and the error that ended the sessions."""
        first_s, last_s = candidate.unanswered_range.start, candidate.unanswered_range.end
        # Some audio before the sound is also streamed, because recognizers lose words that begin with the first sample.
        start_s, end_s = max(first_s, candidate.start - CONTEXT_S), min(last_s, candidate.end + CONTEXT_S)
        logger.warning("no text for sound, streaming it again", job=self._record.job_id, start=start_s, end=end_s)
        # The segments are copied, because the list grows while new text is committed.
        before = sorted(self._segments, key=lambda segment: segment.start)
        texts = 0

        async def commit_new(segment: Segment) -> None:
            nonlocal texts
            new = new_part(segment, before, first_s, last_s, paced=self._paced)
            if new is not None:
                texts += 1
                await self._commit(new)
            elif not segment.words:
                # Text without word times that already exists may also be the text of this sound, because the first pass
                # could only estimate its times.
                texts += 1
                self._known.append((start_s, end_s))

        sequence = SessionSequence(
            self._service,
            self._record,
            start_s,
            # A separate history, because the history of the first pass must not contain the repeated audio twice.
            voiced=VoiceActivityHistory(self._rate),
            commit=commit_new,
            report=self._report,
        )
        self._streamed.append((start_s, end_s))
        error = await sequence.run(await self._opened_feed(), round(end_s * self._rate))
        if not texts:
            self._tries.append(_FailedTry(start_s, end_s, error))
        return sequence.uncommitted, texts > 0, error

    def _unanswered(self, candidate: _Candidate) -> UnansweredSound:
        again = self._times_streamed(candidate)
        error = next((one.error for one in self._tries if one.error and one.covers(candidate)), None)
        return UnansweredSound(
            start=round(candidate.start, 3),
            end=round(candidate.end, 3),
            channel=self._record.channel,
            sound=candidate.found.kind,
            seconds=candidate.found.seconds,
            sessions=1 + again,
            reason=str(error) if error else _reason(candidate.found.kind, again=again > 0),
        )


def _reason(kind: str, *, again: bool) -> str:
    sound = {"speech": "speech", "noise": "noise or music", "unknown": "sound"}[kind]
    return f"the service gave no text for {sound}" + (", also when it was streamed again" if again else "")
