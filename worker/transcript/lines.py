"""Subtitle cues: segments cut into pieces that fit a screen and can be read, Latin and CJK alike (pure).

The rules: at most two lines of `COLUMNS` display columns, or of `CJK_COLUMNS` where a cue holds CJK text (16 full-width
characters); breaks after a sentence first, then after a clause, then at a pause, then where there is room; never inside
a Latin word or a number; no closing punctuation at the start of a line, no opening one at its end. No text is lost and
cues never overlap. A single word that is wider than a line stays whole.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
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


def cues(transcript: Transcript) -> Iterator[Cue]:
    """All cues of a transcript in order of time, starts strictly rising, none reaching into the next."""
    ordered = sorted(transcript.segments, key=lambda segment: segment.start)
    raw = (cue for segment in ordered for cue in _Cutter(_units(segment)).cues())
    shown: Cue | None = None
    for cue in raw:
        start = cue.start_ms if shown is None else max(cue.start_ms, shown.start_ms + STEP_MS)
        if shown is not None:
            yield replace(shown, end_ms=min(shown.end_ms, start))
        shown = Cue(start, max(cue.end_ms, start + MIN_MS), cue.lines)
    if shown is not None:
        yield shown


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


class _Cutter:
    """Cuts the units of one segment into cues: few of them, cut at good places, none over the limits.

    Widths come from running sums, so the work grows with the text and the size of a cue, not with its square.
    """

    def __init__(self, units: Sequence[_Unit]) -> None:
        self._units = units
        self._width_to = [0, *accumulate(unit.columns + unit.spaced for unit in units)]
        self._cjk_to = [0, *accumulate(unit.cjk for unit in units)]
        self._break_costs = [0.0, *(_break_cost(before, unit) for before, unit in pairwise(units)), 0.0]

    def cues(self) -> list[Cue]:
        """The cheapest cut of all, found from the front: best[k] is the cost of the first k units and its last cut."""
        best: list[tuple[float, int]] = [(0.0, 0)]
        for end in range(1, len(self._units) + 1):
            best.append(min(self._options(end, best)))
        cuts = [len(self._units)]
        while cuts[-1]:
            cuts.append(best[cuts[-1]][1])
        return [self._cue(begin, end) for begin, end in pairwise(reversed(cuts))]

    def _options(self, end: int, best: Sequence[tuple[float, int]]) -> Iterator[tuple[float, int]]:
        for begin in range(end - 1, -1, -1):
            line = self._line_break(begin, end)
            length_ms = self._units[end - 1].end_ms - self._units[begin].start_ms
            if begin < end - 1 and (line is None or length_ms > MAX_MS):
                return
            short = max(0, MIN_MS - length_ms) / MIN_MS
            # Squared, so that two middling cues are better than a full one and a scrap.
            empty = max(0.0, 1 - self._width(begin, end) / (MAX_LINES * self._limit(begin, end))) ** 2
            cost = 3 + 3 * short + 2 * empty + (line or (0.0,))[0] + self._break_costs[end]
            yield best[begin][0] + cost, begin

    def _width(self, begin: int, end: int) -> int:
        return self._width_to[end] - self._width_to[begin] - self._units[begin].spaced

    def _limit(self, begin: int, end: int) -> int:
        return CJK_COLUMNS if self._cjk_to[end] > self._cjk_to[begin] else COLUMNS

    def _line_break(self, begin: int, end: int) -> tuple[float, int] | None:
        """Cost and first unit of the second line; (0, begin) when one line is enough; None when two are not."""
        limit = self._limit(begin, end)
        total = self._width(begin, end)
        if total <= limit:
            return 0.0, begin
        if total > MAX_LINES * limit + 1:
            return None
        options = []
        for at in range(end - 1, begin, -1):
            first, second = self._width(begin, at), self._width(at, end)
            if second > limit:
                break
            if first <= limit:
                # A clear break is worth an uneven pair of lines, up to a point.
                options.append((abs(first - second) / limit + self._break_costs[at] / 2, at))
        return min(options) if options else None

    def _cue(self, begin: int, end: int) -> Cue:
        units = self._units[begin:end]
        _, at = self._line_break(begin, end) or (0.0, begin)
        lines = tuple(_join(line) for line in (self._units[begin:at], self._units[at:end]) if line)
        start = units[0].start_ms
        return Cue(start, max(start, *(unit.end_ms for unit in units)), lines)


def _break_cost(before: _Unit, after: _Unit) -> float:
    """How bad a break between two units is: 0 after a sentence, 4 in the middle of a phrase."""
    last = (before.text.rstrip("\"'”’」』）)") or before.text)[-1]
    if last in _SENTENCE_END:
        return 0.0
    if last in _CLAUSE_END:
        return 1.0
    return 2.0 if after.start_ms - before.end_ms >= PAUSE_MS else 4.0


def _join(units: Sequence[_Unit]) -> str:
    return "".join(f" {unit.text}" if unit.spaced and k else unit.text for k, unit in enumerate(units))
