"""Splits text into units, the parts of a subtitle that a line break must not separate. No I/O.

A unit is a Latin or Chinese word, a number with its measure word, or a name with a number. The punctuation next to it
belongs to the unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wcwidth import wcswidth, wcwidth

from worker.transcript.model import Segment
from worker.transcript.subtitles import measure_words
from worker.transcript.subtitles.chinese_words import word_begins
from worker.transcript.subtitles.cjk_spacing import is_cjk
from worker.transcript.subtitles.line_breaks import breaks
from worker.transcript.subtitles.style import CueRules
from worker.transcript.subtitles.unbroken_phrases import unbroken_positions
from worker.transcript.subtitles.word_alignment import AlignedPiece, align, join

PAUSE_MS: Final = 300
"""From this duration on, silence is a good position for a break, and separates numbers that are spoken one by one."""

_MAX_CHINESE_WORD: Final = 5
"""A Chinese piece with more characters, including punctuation, is taken for a phrase and not for a word."""
_SIGNS: Final = re.compile(r"[^\w]")


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a unit for which the start and the end are known, in milliseconds of the file."""

    text: str
    spaced: bool
    """Whether a space precedes the part, unless it is at the start of a line."""
    start_ms: int
    end_ms: int
    begins_word: bool
    """False if the part continues the word of the previous part, as a CJK character may."""


@dataclass(frozen=True, slots=True)
class Unit:
    """One or more parts of a text that a break must not separate."""

    parts: tuple[Part, ...]
    columns: int
    """Width in display columns, without the space before the unit."""
    cjk: bool
    """Whether the unit contains CJK text."""
    read_ms: float
    """Time that a viewer needs to read the unit, in milliseconds."""
    ends_segment: bool = False
    """Whether it is the last unit of its segment."""

    @property
    def text(self) -> str:
        return "".join(f" {part.text}" if part.spaced and k else part.text for k, part in enumerate(self.parts))

    @property
    def spaced(self) -> bool:
        return self.parts[0].spaced

    @property
    def start_ms(self) -> int:
        return self.parts[0].start_ms

    @property
    def end_ms(self) -> int:
        return max(part.end_ms for part in self.parts)


def units(segment: Segment, rules: CueRules) -> list[Unit]:
    """Split the text of a segment into units, in order. The units contain all of the text."""
    pieces = align(segment)
    groups: list[list[Part]] = []
    for part in _parts(pieces):
        if groups and _together(groups[-1], part, rules):
            groups[-1].append(part)
        else:
            groups.append([part])
    last = len(groups) - 1
    return [_unit(tuple(group), rules, ends_segment=k == last) for k, group in enumerate(groups)]


def columns(text: str) -> int:
    """Return the width of a text in columns of a fixed-width display."""
    found = wcswidth(text)
    return found if found >= 0 else sum(max(0, wcwidth(char)) for char in text)


def read_ms(text: str, rules: CueRules) -> float:
    """Return the time that a viewer needs to read a text, in milliseconds."""
    wide = sum(columns(char) == 2 for char in text)
    return 1000 * (wide / rules.cjk_per_s + (len(text) - wide) / rules.latin_per_s)


def _parts(pieces: Sequence[AlignedPiece]) -> Iterator[Part]:
    """Split the text at all positions where a line may break.

    The start of a part is the time of its first character, and the end is that of its last character. `pieces` has the
    times."""
    text = join(pieces)
    times = _times(pieces)
    spans = list(_spans(pieces))
    begins = _word_begins(text, spans)
    may_break = {0, *breaks(text, [begin for begin, _ in spans])}
    done = 0  # number of visible characters before `at`
    begin = first = 0
    for at, char in enumerate(text):
        if at and at in may_break:
            yield _part(text, begin, at, times[first:done], begins=begin in begins)
            begin, first = at, done
        done += not char.isspace()
    if text:
        yield _part(text, begin, len(text), times[first:done], begins=begin in begins)


def _part(text: str, begin: int, end: int, times: Sequence[tuple[int, int]], *, begins: bool) -> Part:
    return Part(
        text=text[begin:end].strip(),
        spaced=begin > 0 and text[begin - 1].isspace(),
        start_ms=times[0][0],
        end_ms=max(times[0][0], times[-1][1]),
        begins_word=begins,
    )


def _spans(pieces: Sequence[AlignedPiece]) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each piece in the joined text."""
    done = 0
    for index, piece in enumerate(pieces):
        begin = done + (piece.spaced and index > 0)
        done = begin + len(piece.text)
        yield begin, done


def _word_begins(text: str, spans: Sequence[tuple[int, int]]) -> set[int]:
    """Return the indices at which a word begins. Indices inside a phrase that must not be divided are omitted.

    A piece of two to five Chinese characters is a word of the service. Other pieces do not show where words begin: many
    services send each Chinese character separately, and a longer piece is a phrase. For these pieces, the lexicon
    decides.
    """
    fixed = [
        (begin, end)
        for begin, end in spans
        if 1 < sum(map(is_cjk, text[begin:end])) <= _MAX_CHINESE_WORD and not _SIGNS.search(text[begin : end - 1])
    ]
    return set(word_begins(text, fixed)) - unbroken_positions(text)


def _times(pieces: Sequence[AlignedPiece]) -> list[tuple[int, int]]:
    """Return start and end in ms of each visible character. The characters of a piece share its time evenly."""
    times = []
    for piece in pieces:
        size = len("".join(piece.text.split()))
        step = (piece.end - piece.start) / size
        times += [(_ms(piece.start + step * k), _ms(piece.start + step * (k + 1))) for k in range(size)]
    return times


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _together(group: Sequence[Part], part: Part, rules: CueRules) -> bool:
    """Whether a part belongs to the same unit as the parts before it: to a word, a number phrase or a name."""
    before = group[-1]
    text = "".join(each.text for each in group)
    number = measure_words.is_number_phrase(text, part.text, spaced=part.spaced)
    if part.begins_word and not number:
        return False
    if measure_words.same_number(before.text, part.text) and part.start_ms - before.end_ms >= PAUSE_MS:
        return False
    # A unit must fit in one line, and must not last longer than a cue.
    width = sum(columns(each.text) + each.spaced for each in (*group, part))
    limit = rules.cjk_columns if any(map(is_cjk, part.text + before.text)) else rules.columns
    return width <= limit and part.end_ms - group[0].start_ms <= rules.max_ms


def _unit(parts: tuple[Part, ...], rules: CueRules, *, ends_segment: bool) -> Unit:
    bare = Unit(parts, 0, cjk=False, read_ms=0)
    text = bare.text
    return Unit(
        parts=parts,
        columns=columns(text),
        cjk=any(map(is_cjk, text)),
        read_ms=read_ms(" " * bare.spaced + text, rules),
        ends_segment=ends_segment,
    )
