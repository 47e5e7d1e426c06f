"""Finds the parts of a section that have sound but no text. No I/O.

A word with times shows that the sound at these times has text. The time at which the word arrives does not matter,
because at full speed all audio may be sent before the first text arrives. A commit without word times shows that some
seconds of voice have text: as many seconds as people need to say its text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, NamedTuple

from worker.audio.voice_activity_history import VoiceActivityHistory
from worker.transcript.audio_events import speech_of
from worker.transcript.model import Segment

FAST_WORD_S: Final = 0.15
"""Seconds of voice in a word of fast speech."""
USUAL_WORD_S: Final = 0.35
"""Seconds of voice in a word of usual speech. The average word of English has 0.3 s."""
SLOW_WORD_S: Final = 0.5
"""Seconds of voice in a word of slow speech."""
CHARACTER_WORDS: Final = 0.65
"""A Chinese, Japanese or Korean character counts as this many words. Cantonese and Mandarin need 0.2 s a character."""
UNTIMED_SLACK_S: Final = 1.0
"""Text without times explains this many further seconds of voice: breath and noise around the speech."""
MIN_GAP_S: Final = 0.8
"""A shorter gap between words counts as a pause, even if it contains sound."""
MIN_VOICED_S: Final = 0.7
"""Less sound than this in a gap is ignored. It may be a cough, or the end of a word whose end time is too early."""

_WIDE: Final = re.compile("[\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True, slots=True)
class UnansweredRange:
    """A part of a section without text, as positions in the file, in seconds. `last`: whether no text of the section
    follows the part."""

    start: float
    end: float
    last: bool


class _TextRange(NamedTuple):
    """A part of a section with text, as positions in the file, in seconds. `unsure_s`: the text may end up to this many
    seconds earlier."""

    start: float
    end: float
    unsure_s: float = 0.0


def unanswered_ranges(
    segments: Iterable[Segment], start_s: float, end_s: float, voiced: VoiceActivityHistory, *, paced: bool
) -> list[UnansweredRange]:
    """Return the parts of a section that have no text but enough sound to examine. `start_s`, `end_s`: positions in the
    file, in seconds, of the section. An audio event such as `(掌聲)` is not text: its sound may be speech that the
    service did not recognize.

    `paced`: audio is sent in real time, so a commit without word times arrives right after its speech.
    """
    # `at`: latest possible end of the text so far. `sure`: earliest possible end of this text.
    found, at, sure = [], start_s, start_s
    for answer in sorted(_text_ranges(speech_of(segments), voiced, paced=paced)):
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
    """Return the streamed parts of a range, without skipped silence.

    `within`: a function that returns the streamed parts between two positions in the file, in seconds."""
    return [UnansweredRange(start, end, found.last) for start, end in within(found.start, found.end)]


def _text_ranges(segments: Iterable[Segment], voiced: VoiceActivityHistory, *, paced: bool) -> Iterator[_TextRange]:
    for untimed, group in groupby(segments, lambda s: not s.words and s.timing == "estimated" and s.committed):
        if untimed and not paced:
            # All audio may have been sent before the first of these segments arrived, so the end of each is unknown.
            # Only the total length of their texts can be compared with the sound.
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
    """Return the range from `start_s` in which the texts were spoken, if people spoke at usual speed.

    If they spoke fast, the texts end earlier, by up to `unsure_s`."""
    shares, words = list(voiced.shares(start_s, end_s)), sum(word_count(text) for text in texts)
    until_s = start_s + _reach(shares, words * USUAL_WORD_S + UNTIMED_SLACK_S)
    if until_s >= end_s:
        return _TextRange(start_s, end_s)
    sure_s = start_s + _reach(shares, words * FAST_WORD_S)
    return _TextRange(start_s, until_s, unsure_s=until_s - sure_s)


def _to_end(segment: Segment, voiced: VoiceActivityHistory) -> _TextRange:
    """Return the range before the end of a segment in which its text was spoken, if people spoke slowly.

    When audio is sent in real time, a commit arrives directly after its speech, so the speech is at the end of the
    segment."""
    shares = list(voiced.shares(segment.start, segment.end))
    length_s = _reach(shares[::-1], word_count(segment.text) * SLOW_WORD_S + UNTIMED_SLACK_S)
    return _TextRange(max(segment.start, segment.end - length_s), segment.end)


def _reach(shares: Sequence[float], budget_s: float) -> float:
    """Return the seconds from the start of `shares` until more than `budget_s` seconds of voice have passed.

    `shares`: seconds of voice in each step of VoiceActivityHistory.STEP_S."""
    used_s = 0.0
    for count, share in enumerate(shares):
        used_s += share
        if used_s > budget_s:
            return count * VoiceActivityHistory.STEP_S
    return len(shares) * VoiceActivityHistory.STEP_S


def word_count(text: str) -> float:
    """Return the length of a text in words. A Chinese, Japanese or Korean character has the length CHARACTER_WORDS."""
    wide = sum(_is_wide(c) for c in text)
    plain = "".join(" " if _is_wide(c) else c for c in text)
    return wide * CHARACTER_WORDS + sum(any(c.isalnum() for c in word) for word in plain.split())


def _is_wide(character: str) -> bool:
    return bool(_WIDE.match(character))
