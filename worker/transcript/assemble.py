"""Commits of sessions to segments of the file (pure).

An `Assembler` belongs to one stretch of the file and outlives its sessions: it puts each commit into file time through
the session's timeline, keeps the times monotone and inside what was sent, gives a commit without times an estimated
place, and drops the words a resumed session heard a second time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from worker.realtime.messages import WireWord
from worker.realtime.pairing import Commit
from worker.timeline import Timeline
from worker.transcript.model import Segment, Word

REHEARD_TOLERANCE_S: Final = 0.35
"""Two sessions may place the same word this far apart."""
MIN_WORD_S: Final = 0.02


class Assembler:
    """Takes commits in order; `until_s` is the file second up to which everything is committed."""

    def __init__(self, committed: Iterable[Segment] = ()) -> None:
        """`committed`: segments an earlier attempt already has, in order."""
        self._last_words: tuple[Word, ...] = ()
        self._resumed_from_s: float | None = None
        self.until_s = 0.0
        for segment in committed:
            self._remember(segment)

    def resume(self, from_s: float) -> None:
        """A new session starts at file second `from_s`, before `until_s` if words come again."""
        self._resumed_from_s = from_s if from_s < self.until_s else None

    def place(self, commit: Commit, timeline: Timeline) -> Segment | None:
        """The segment of a commit in file seconds (rounded to milliseconds); None when all of it was heard before."""
        segment = self._timed(commit, timeline) if _has_times(commit.words) else self._estimated(commit, timeline)
        if segment is not None:
            self._remember(segment)
        return segment

    def uncommitted(self, text: str, timeline: Timeline) -> Segment:
        """A last partial the service never committed, kept and marked as such."""
        end_s = (timeline.file_end or 0) / timeline.rate
        start_s = min(self.until_s, end_s)
        return Segment(text=text, start=_ms(start_s), end=_ms(end_s), timing="estimated", committed=False)

    def _remember(self, segment: Segment) -> None:
        self.until_s = max(self.until_s, segment.end)
        if segment.words:
            self._last_words = (*self._last_words, *segment.words)[-40:]

    def _timed(self, commit: Commit, timeline: Timeline) -> Segment | None:
        latest_s = (timeline.file_end or 0) / timeline.rate
        words = []
        # In an overlap, times before `until_s` are right; elsewhere they can only be inexact.
        floor_s = 0.0 if self._resumed_from_s is not None else self.until_s
        for wire in _completed(commit.words):
            start = min(max(timeline.to_file_s(wire.start or 0.0), floor_s), latest_s)
            end = min(max(timeline.to_file_s(wire.end or 0.0), start + MIN_WORD_S), max(latest_s, start))
            words.append(Word(text=wire.text, start=_ms(start), end=_ms(end), confidence=wire.confidence))
            floor_s = start
        fresh = self._fresh(words)
        if not fresh:
            return None
        text = commit.text if len(fresh) == len(words) else _text_of(fresh, words, commit.text)
        ends = max(w.end for w in fresh)
        return Segment(text=text, start=fresh[0].start, end=ends, words=tuple(fresh), language=commit.language)

    def _estimated(self, commit: Commit, timeline: Timeline) -> Segment | None:
        """Without word times: from the end of the commit before it to the last audio sent when it came."""
        end_s = timeline.to_file(commit.sent) / timeline.rate
        start_s = min(self.until_s, end_s)
        self._resumed_from_s = None
        return Segment(
            text=commit.text, start=_ms(start_s), end=_ms(max(end_s, start_s)), language=commit.language,
            timing="estimated",
        )  # fmt: skip

    def _fresh(self, words: list[Word]) -> list[Word]:
        """`words` without those an earlier session already committed."""
        if self._resumed_from_s is None:
            return words
        fresh = [w for w in words if not self._heard_before(w)]
        if fresh and fresh[0].end > self.until_s + REHEARD_TOLERANCE_S:
            self._resumed_from_s = None  # past the overlap
        return fresh

    def _heard_before(self, word: Word) -> bool:
        if (word.start + word.end) / 2 < self.until_s:
            return True
        return any(
            known.text == word.text and abs(known.start - word.start) <= REHEARD_TOLERANCE_S
            for known in reversed(self._last_words)
        )


def _has_times(words: tuple[WireWord, ...]) -> bool:
    return any(w.start is not None for w in words)


def _completed(words: tuple[WireWord, ...]) -> list[WireWord]:
    """Words whose missing times are filled from their neighbours."""
    completed = []
    previous_end = next((w.start for w in words if w.start is not None), 0.0)
    for word in words:
        start = previous_end if word.start is None else word.start
        end = start if word.end is None else max(word.end, start)
        completed.append(WireWord(word.text, start, end, word.confidence))
        previous_end = end
    return completed


def _text_of(fresh: list[Word], words: list[Word], text: str) -> str:
    """The part of a commit's text from the first fresh word on, when the words before it are dropped."""
    dropped = len(words) - len(fresh)
    if fresh != words[dropped:]:
        return " ".join(w.text for w in fresh)
    position = 0
    for word in words[:dropped]:
        found = text.find(word.text, position)
        if found < 0:
            return " ".join(w.text for w in fresh)
        position = found + len(word.text)
    first = text.find(fresh[0].text, position)
    return text[first:].strip() if first >= 0 else " ".join(w.text for w in fresh)


def _ms(seconds: float) -> float:
    return round(seconds, 3)
