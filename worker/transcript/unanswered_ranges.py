"""Finds the parts of a section that have sound but no text (pure).

A word with times covers the sound at its times, no matter when it arrives: at full speed all audio may be sent before
the first text arrives. A commit without word times covers as much voiced audio as its text takes to say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.transcript.model import Segment

FAST_WORD_S: Final = 0.15
USUAL_WORD_S: Final = 0.35
SLOW_WORD_S: Final = 0.5
"""Voiced seconds of a word in fast, usual and slow speech. English has 0.3 on average."""
CHARACTER_WORDS: Final = 0.65
"""Words that a Chinese, Japanese or Korean character counts as: Cantonese and Mandarin have 0.2 s a character."""
UNTIMED_SLACK_S: Final = 1.0
"""Additional voiced seconds that text without times covers: breath and noise around it."""
MIN_GAP_S: Final = 0.8
"""A shorter gap between words is a pause, even with sound in it."""
MIN_VOICED_S: Final = 0.7
"""Less sound than this in a gap is ignored: a cough, or the end of a word with a time that is too early."""

_WIDE: Final = re.compile("[\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class UnansweredRange:
    """A part of a section without text, in file seconds. `last`: no text of the section follows."""

    start: float
    end: float
    last: bool


class _TextRange(NamedTuple):
    """A part of a section with text, in file seconds. `unsure_s`: seconds by which the text may end earlier."""

    start: float
    end: float
    unsure_s: float = 0.0


def unanswered_ranges(
    segments: Iterable[Segment], start_s: float, end_s: float, voiced: VoiceActivityHistory, *, paced: bool
) -> list[UnansweredRange]:
    """The parts of a section (file seconds `start_s` to `end_s`) without text but with enough sound to examine.

    `paced`: audio is sent in real time, so a commit without times comes right after its speech.
    """
    found, at, sure = [], start_s, start_s
    for answer in sorted(_text_ranges(segments, voiced, paced=paced)):
        if answer.start - at >= MIN_GAP_S:
            found.append(UnansweredRange(sure, min(answer.start, end_s), last=False))
        if answer.end > at:
            at, sure = answer.end, answer.end - answer.unsure_s
    if end_s - at >= MIN_VOICED_S and voiced.between(at, end_s) >= MIN_VOICED_S:
        found.append(UnansweredRange(sure, end_s, last=True))
    return [one for one in found if voiced.between(one.start, one.end) >= MIN_VOICED_S]


def without_skipped(
    found: UnansweredRange, within: Callable[[float, float], Sequence[tuple[float, float]]]
) -> list[UnansweredRange]:
    """The streamed parts of a range. `within` returns the streamed parts of a time range."""
    return [UnansweredRange(start, end, found.last) for start, end in within(found.start, found.end)]


def _text_ranges(segments: Iterable[Segment], voiced: VoiceActivityHistory, *, paced: bool) -> Iterator[_TextRange]:
    for untimed, group in groupby(segments, lambda s: not s.words and s.timing == "estimated" and s.committed):
        if untimed and not paced:
            # All audio may have been sent before the first of these segments arrived, so only their sum is known.
            together = list(group)
            start_s, end_s = together[0].start, max(s.end for s in together)
            yield _from_start([s.text for s in together], start_s, end_s, voiced)
            continue
        for segment in group:
            if segment.words:
                yield from (_TextRange(word.start, word.end) for word in segment.words)
            elif untimed:
                yield _to_end(segment, voiced)
            else:
                yield _TextRange(segment.start, segment.end)


def _from_start(texts: Sequence[str], start_s: float, end_s: float, voiced: VoiceActivityHistory) -> _TextRange:
    """The range from `start_s` that the texts take to say at usual speed."""
    shares, words = list(voiced.shares(start_s, end_s)), sum(word_count(text) for text in texts)
    until_s = start_s + _reach(shares, words * USUAL_WORD_S + UNTIMED_SLACK_S)
    if until_s >= end_s:
        return _TextRange(start_s, end_s)
    sure_s = start_s + _reach(shares, words * FAST_WORD_S)
    return _TextRange(start_s, until_s, unsure_s=until_s - sure_s)


def _to_end(segment: Segment, voiced: VoiceActivityHistory) -> _TextRange:
    """The range before the end of a segment that its text takes to say slowly.

    At real-time pace a commit arrives right after its speech, so the text is at the end."""
    shares = list(voiced.shares(segment.start, segment.end))
    length_s = _reach(shares[::-1], word_count(segment.text) * SLOW_WORD_S + UNTIMED_SLACK_S)
    return _TextRange(max(segment.start, segment.end - length_s), segment.end)


def _reach(shares: Sequence[float], budget_s: float) -> float:
    """Seconds from the start of `shares` until more than `budget_s` seconds are voiced."""
    used_s = 0.0
    for count, share in enumerate(shares):
        used_s += share
        if used_s > budget_s:
            return count * VoiceActivityHistory.STEP_S
    return len(shares) * VoiceActivityHistory.STEP_S


def word_count(text: str) -> float:
    """The length of a text in words. A character of a language without spaces counts as CHARACTER_WORDS."""
    wide = sum(_is_wide(c) for c in text)
    plain = "".join(" " if _is_wide(c) else c for c in text)
    return wide * CHARACTER_WORDS + sum(any(c.isalnum() for c in word) for word in plain.split())


def _is_wide(character: str) -> bool:
    return bool(_WIDE.match(character))
