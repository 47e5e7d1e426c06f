"""Subtitle cues: segments cut into pieces that fit a screen and can be read, Latin and CJK alike (pure).

The rules: at most two lines of `COLUMNS` display columns, or of `CJK_COLUMNS` where a cue holds CJK text (16 full-width
characters); breaks after a sentence first, then after a clause, then at a pause, then where there is room; never inside
a Latin word or a number; no closing punctuation at the start of a line, no opening one at its end. No text is lost and
cues never overlap. A single word that is wider than a line stays whole.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from wcwidth import wcswidth, wcwidth

from worker.transcript.model import Segment, Transcript

MAX_LINES: Final = 2
COLUMNS: Final = 42
CJK_COLUMNS: Final = 32
MIN_MS: Final = 1000
"""A cue is shown at least this long where the next one leaves it the time."""
MAX_MS: Final = 6000
"""Speech of more than this is cut where it can be; a single word is not."""
STEP_MS: Final = 250
"""Least time between two starts, for text that came without usable times."""
PAUSE_MS: Final = 300
"""A silence that makes a good place for a break."""

_SENTENCE_END: Final = frozenset(".!?。！？…")
_CLAUSE_END: Final = frozenset(",;:，、；：—–")
_CLOSING: Final = frozenset("。，、；：？！…—～·）」』】》〉〕”’％%)]}!?,.;:")
_OPENING: Final = frozenset("（「『【《〈〔“‘([{")
_CJK: Final = (
    (0x2E80, 0x9FFF),
    (0xAC00, 0xD7AF),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE4F),
    (0xFF00, 0xFFEF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: one or two lines, shown from `start_ms` to `end_ms` (milliseconds of the file)."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Unit:
    """The smallest piece that is never cut: a Latin word or a CJK character, with the punctuation that clings to it."""

    text: str
    spaced: bool
    """A space stands before it, unless it begins a line."""
    columns: int
    cjk: bool
    start_ms: int
    end_ms: int


def clock(ms: int, point: str) -> str:
    """`HH:MM:SS` and milliseconds after `point`; hours grow beyond two digits."""
    seconds, milli = divmod(max(0, ms), 1000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{milli:03}"


def cues(transcript: Transcript) -> list[Cue]:
    """All cues of a transcript in order of time, starts strictly rising, none reaching into the next."""
    ordered = sorted(transcript.segments, key=lambda segment: segment.start)
    raw = [cue for segment in ordered for cue in _segment_cues(_units(segment))]
    starts: list[int] = []
    for cue in raw:
        starts.append(max(cue.start_ms, starts[-1] + STEP_MS) if starts else cue.start_ms)
    ends = [max(cue.end_ms, start + MIN_MS) for cue, start in zip(raw, starts, strict=True)]
    limits = [*starts[1:], math.inf]
    return [
        Cue(start, int(min(end, limit)), cue.lines)
        for cue, start, end, limit in zip(raw, starts, ends, limits, strict=True)
    ]


# -- text to units -----------------------------------------------------------------------------------------------------


def is_cjk(char: str) -> bool:
    """Han, kana, hangul and full-width signs: text that may break between any two characters."""
    code = ord(char)
    return any(low <= code <= high for low, high in _CJK)


def _units(segment: Segment) -> list[_Unit]:
    pieces = list(_pieces(segment.text))
    at = _times(segment, sum(len(text) for text, _ in pieces))
    units = []
    done = 0
    for text, spaced in pieces:
        start, end = at[done][0], at[done + len(text) - 1][1]
        units.append(_Unit(text, spaced, _columns(text), any(map(is_cjk, text)), start, max(start, end)))
        done += len(text)
    return units


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Unbreakable pieces in order, and whether a space stood before each. Control characters are left out."""
    for chunk in text.split():
        visible = "".join(c for c in chunk if unicodedata.category(c) != "Cc")
        piece = ""
        spaced = True
        for char in visible:
            if piece and _may_break(piece, char):
                yield piece, spaced
                piece, spaced = "", False
            piece += char
        if piece:
            yield piece, spaced


def _may_break(piece: str, char: str) -> bool:
    if not (is_cjk(piece[-1]) or is_cjk(char)):
        return False
    return piece[-1] not in _OPENING and char not in _CLOSING and wcwidth(char) != 0


def _times(segment: Segment, count: int) -> list[tuple[int, int]]:
    """Start and end, in ms, of each of the `count` visible characters of a segment.

    They come from the words, laid along the text by position: where words and text are the same characters, exactly so.
    """
    words = [(word.start, word.end, sum(not c.isspace() for c in word.text)) for word in segment.words]
    total = sum(size for _, _, size in words)
    if not total:
        words, total = [(segment.start, segment.end, count)], count
    spans = []
    for start, end, size in words:
        step = max(0.0, end - start) / size if size else 0.0
        spans += [(_ms(start + step * k), _ms(start + step * (k + 1))) for k in range(size)]
    return [spans[min(total - 1, k * total // count)] for k in range(count)]


def _ms(seconds: float) -> int:
    return max(0, round(seconds * 1000))


def _columns(text: str) -> int:
    columns = wcswidth(text)
    return columns if columns >= 0 else sum(max(0, wcwidth(char)) for char in text)


# -- units to cues -----------------------------------------------------------------------------------------------------


def _segment_cues(units: Sequence[_Unit]) -> list[Cue]:
    """The cheapest way to cut the units into cues: few of them, cut at good places, none over the limits."""
    best: list[tuple[float, int]] = [(0.0, 0)]
    for end in range(1, len(units) + 1):
        options = []
        for begin in range(end - 1, -1, -1):
            cue = units[begin:end]
            if len(cue) > 1 and not _fits(cue):
                break
            options.append((best[begin][0] + _cost(units, begin, end), begin))
        best.append(min(options))
    cuts = [len(units)]
    while cuts[-1]:
        cuts.append(best[cuts[-1]][1])
    return [_cue(units[begin:end]) for begin, end in pairwise(reversed(cuts))]


def _fits(units: Sequence[_Unit]) -> bool:
    return units[-1].end_ms - units[0].start_ms <= MAX_MS and _line_break(units) is not None


def _cost(units: Sequence[_Unit], begin: int, end: int) -> float:
    cue = units[begin:end]
    short = max(0, MIN_MS - (cue[-1].end_ms - cue[0].start_ms)) / MIN_MS
    return 3.0 + 3.0 * short + (_break_cost(units, end) if end < len(units) else 0.0)


def _break_cost(units: Sequence[_Unit], at: int) -> float:
    """How bad a break before unit `at` is: 0 after a sentence, 4 in the middle of a phrase."""
    before = units[at - 1].text.rstrip("\"'”’」』）)")[-1:] or units[at - 1].text[-1]
    if before in _SENTENCE_END:
        return 0.0
    if before in _CLAUSE_END:
        return 1.0
    return 2.0 if units[at].start_ms - units[at - 1].end_ms >= PAUSE_MS else 4.0


def _limit(units: Sequence[_Unit]) -> int:
    return CJK_COLUMNS if any(unit.cjk for unit in units) else COLUMNS


def _width(units: Sequence[_Unit]) -> int:
    return sum(unit.columns + unit.spaced for unit in units) - (units[0].spaced if units else 0)


def _line_break(units: Sequence[_Unit]) -> int | None:
    """Where the second line begins; 0 when one line is enough; None when two are not."""
    limit = _limit(units)
    total = _width(units)
    if total <= limit:
        return 0
    if total > MAX_LINES * limit + 1:
        return None
    options = []
    for at in range(1, len(units)):
        first, second = _width(units[:at]), _width(units[at:])
        if max(first, second) <= limit:
            # A clear break is worth an uneven pair of lines, up to a point.
            options.append((abs(first - second) / limit + _break_cost(units, at) / 4, at))
    return min(options)[1] if options else None


def _cue(units: Sequence[_Unit]) -> Cue:
    at = _line_break(units) or 0
    lines = tuple(_join(line) for line in (units[:at], units[at:]) if line)
    start = units[0].start_ms
    return Cue(start, max(start, *(unit.end_ms for unit in units)), lines)


def _join(units: Sequence[_Unit]) -> str:
    return "".join(f" {unit.text}" if unit.spaced and k else unit.text for k, unit in enumerate(units))
