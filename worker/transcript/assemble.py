"""Commits of sessions to segments of the file (pure).

An `Assembler` belongs to one stretch of the file and outlives its sessions: it puts each commit into file time through
the session's timeline, keeps the times monotone and inside what was sent, gives a commit without usable times an
estimated place, and drops the words that a resumed session, or the service itself, repeats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from worker.audio.voice_activity import VoiceMap
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.session_timeline import Timeline
from worker.transcript.duplicate_text import DeduplicatedCommit, DuplicateTextFilter, dropped_pieces
from worker.transcript.model import Segment, Word
from worker.transcript.overlap import OverlapFilter, text_of_words
from worker.transcript.voiced_runs import CommitAudio, session_voiced_runs
from worker.transcript.word_time_correction import MARGIN_S, Times, WordTimeCorrector, fits

OVERLAP_TOLERANCE_S: Final = 0.35
"""Two sessions may place the same word this far apart."""
RESUME_MARGIN_S: Final = 0.5
"""A resumed session begins this long before the first sound that is not committed, so that its word is heard whole."""
WORD_END_TOLERANCE_S: Final = 0.1
"""Sound that goes on this long after a word's end still belongs to it."""
MIN_WORD_S: Final = 0.02
MAX_KNOWN_WORDS: Final = 40


class Assembler:
    """Takes commits in order. `until_s`: file second at which the last committed word ends."""

    def __init__(
        self, voice: VoiceMap, *, paced: bool, start_s: float = 0.0, committed: Iterable[Segment] = ()
    ) -> None:
        """`start_s`: file second at which the stretch begins. `paced`: audio is sent in real time, so what was sent
        when a commit came tells what it covers. `committed`: segments an earlier attempt already has, in order."""
        self._voice = voice
        self._paced = paced
        self._clock = WordTimeCorrector()
        self._repeats = DuplicateTextFilter()
        self._overlap_filter = OverlapFilter()
        self._last_words: tuple[Word, ...] = ()
        self._forgotten = False  # words of before `_last_words`
        self._overtaken_commits: deque[tuple[str, tuple[WireWord, ...]]] = deque(maxlen=4)
        self._untimed = False  # a segment has no word times
        self._resumed = False
        self._start_s = start_s
        self._safe_s = start_s  # everything before is surely committed
        self._floor_s = start_s  # where measured words may begin: an estimate must not push them
        self.until_s = start_s
        self.dropped = 0
        """Repeated pieces of text left out so far, as no sound was left for them."""
        for segment in committed:
            self._remember(segment)

    def resume_s(self, sent_s: float) -> float:
        """Where the next session has to begin, when audio up to `sent_s` was sent: before the first sound that is not
        committed, or where sending stopped if there is none."""
        onset_s = self._voice.onset_s(self._safe_s + WORD_END_TOLERANCE_S)
        if onset_s is None:
            return max(sent_s, self._safe_s - RESUME_MARGIN_S, self._start_s)
        return max(self._start_s, min(onset_s - RESUME_MARGIN_S, sent_s))

    def begin(self, from_s: float) -> None:
        """A new session starts at file second `from_s`; before `until_s`, words come again."""
        self._resumed = from_s < self.until_s
        self._clock, self._repeats = WordTimeCorrector(), DuplicateTextFilter()
        self._overtaken_commits.clear()
        self._overlap_filter.begin(again=self._resumed)

    def place(self, commit: Commit, timeline: Timeline) -> Segment | None:
        """The segment of a commit in file seconds (rounded to milliseconds), or None for a mere repetition."""
        if (commit.text, commit.words) in self._overtaken_commits:
            self.dropped += dropped_pieces(commit.text, None)
            return None
        if (segment := self._overtaken(commit, timeline)) is not None:
            self._overtaken_commits.append((commit.text, commit.words))
            self._last_words = tuple(sorted((*self._last_words, *segment.words), key=lambda w: w.start))
            return segment
        evidence = self._evidence(commit, timeline)
        take = self._repeats.take(commit.text, commit.words, self._clock, evidence)
        self.dropped += dropped_pieces(commit.text, take)
        if take is None:
            return None
        if take.times:
            segment = self._timed(take, commit, timeline)
        else:
            segment = self._estimated(take.text, commit, timeline.to_file_s(evidence.sent_s))
        if segment is not None:
            self._remember(segment)
        self._voice.forget_before(self._safe_s - 60)
        return segment

    def _overtaken(self, commit: Commit, timeline: Timeline) -> Segment | None:
        """A commit that comes after a later one: its times are those of sound that has no words yet. Where a segment
        has no word times, or words of before are forgotten, that is not known."""
        times = [(w.start, w.end) for w in commit.words if w.start is not None and w.end is not None]
        known = self._last_words
        if self._resumed or self._untimed or not times or len(times) < len(commit.words) or not known:
            return None
        if any(start > end for start, end in times) or any(a[1] > b[0] for a, b in pairwise(times)):
            return None
        words = [
            Word(text=w.text, start=_ms(a), end=_ms(b), confidence=w.confidence)
            for w, (a, b) in zip(commit.words, self._to_file(times, timeline), strict=True)
        ]
        first, last = words[0].start, words[-1].end
        if last > self._safe_s or first < self._start_s or (self._forgotten and first < known[0].end):
            return None
        if any(word.start < last and first < word.end for word in known):
            return None
        sound = session_voiced_runs(self._voice, timeline, max(0.0, times[0][0] - MARGIN_S), times[-1][1] + MARGIN_S)
        if not fits(times, sound):
            return None
        return Segment(text=commit.text, start=first, end=last, words=tuple(words), language=commit.language)

    @staticmethod
    def _to_file(times: Times, timeline: Timeline) -> Times:
        return [(timeline.to_file_s(start), timeline.to_file_s(end)) for start, end in times]

    def _evidence(self, commit: Commit, timeline: Timeline) -> CommitAudio:
        # In an overlap, sound before the committed text is sent again.
        after_s = 0.0 if self._resumed else timeline.to_session_s(self._safe_s)
        sent_s = min(commit.sent, timeline.sent) / timeline.rate
        if commit.before_s is not None and after_s < commit.before_s < sent_s:
            sent_s = commit.before_s
        sound = session_voiced_runs(self._voice, timeline, after_s, sent_s)
        return CommitAudio(sound, after_s, sent_s, bounded=self._paced)

    def uncommitted(self, text: str, timeline: Timeline) -> Segment:
        """A last partial the service never committed, kept and marked as such."""
        end_s = (timeline.file_end or 0) / timeline.rate
        start_s = min(self._voice.onset_s(self.until_s) or self.until_s, end_s)
        return Segment(text=text, start=_ms(start_s), end=_ms(end_s), timing="estimated", committed=False)

    def _remember(self, segment: Segment) -> None:
        self.until_s = max(self.until_s, segment.end)
        if segment.timing == "measured" or self._paced:
            self._safe_s = max(self._safe_s, segment.end)
            if segment.timing == "measured":
                self._floor_s = max(self._floor_s, segment.end)
            self._overlap_filter.forget()
        else:
            self._overlap_filter.remember(segment.text)
        if segment.words:
            self._forgotten = self._forgotten or len(self._last_words) + len(segment.words) > MAX_KNOWN_WORDS
            self._last_words = (*self._last_words, *segment.words)[-MAX_KNOWN_WORDS:]
        else:
            self._untimed = True

    def _timed(self, take: DeduplicatedCommit, commit: Commit, timeline: Timeline) -> Segment | None:
        latest_s = (timeline.file_end or 0) / timeline.rate
        # In an overlap, times before what is committed are right; elsewhere they can only be inexact.
        floor_s = 0.0 if self._resumed else self._floor_s
        words = []
        for wire, (start_s, end_s) in zip(take.words, take.times or (), strict=True):
            start = min(max(timeline.to_file_s(start_s), floor_s), latest_s)
            end = min(max(timeline.to_file_s(end_s), start + MIN_WORD_S), max(latest_s, start))
            words.append(Word(text=wire.text, start=_ms(start), end=_ms(end), confidence=wire.confidence))
            floor_s = start
        fresh = self._overlap_filter.unknown(self._fresh(words))
        if not fresh:
            return None
        text = take.text if len(fresh) == len(words) else text_of_words(take.text, words, fresh)
        ends = max(w.end for w in fresh)
        return Segment(text=text, start=fresh[0].start, end=ends, words=tuple(fresh), language=commit.language)

    def _estimated(self, text: str, commit: Commit, sent_s: float) -> Segment | None:
        """Without word times: the sound between the previous commit and the last audio it can cover."""
        text = self._overlap_filter.without(text)
        if not text:
            return None
        end_s = max(self._voice.end_s(sent_s) or sent_s, self.until_s)
        end_s = min(end_s, max(sent_s, self.until_s))
        start_s = min(self._voice.onset_s(self.until_s + WORD_END_TOLERANCE_S) or self.until_s, end_s)
        self._resumed = False
        return Segment(
            text=text, start=_ms(start_s), end=_ms(end_s), language=commit.language, timing="estimated"
        )  # fmt: skip

    def _fresh(self, words: list[Word]) -> list[Word]:
        """`words` without those an earlier session already committed."""
        if not self._resumed:
            return words
        fresh = [w for w in words if not self._heard_before(w)]
        if fresh and fresh[0].end > self.until_s + OVERLAP_TOLERANCE_S:
            self._resumed = False  # past the overlap
        return fresh

    def _heard_before(self, word: Word) -> bool:
        if (word.start + word.end) / 2 < self._safe_s:
            return True
        return any(
            known.text == word.text and abs(known.start - word.start) <= OVERLAP_TOLERANCE_S
            for known in reversed(self._last_words)
        )


def _ms(seconds: float) -> float:
    return round(seconds, 3)
