"""Aligns the words of a segment with its text, so that every piece of the text has times (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from worker.transcript.model import Segment, Word
from worker.transcript.subtitles.cjk_spacing import OPENING, may_break, tidy


@dataclass(frozen=True, slots=True)
class AlignedPiece:
    """A word with its spelling in the text and the punctuation next to it. Times are seconds of the file."""

    text: str
    spaced: bool
    """Whether a space precedes it."""
    start: float
    end: float
    confidence: float | None


def align(segment: Segment) -> list[AlignedPiece]:
    """Split the tidy text of a segment into pieces with times. `join` restores the text.

    If the words spell the text, each word gives one piece with exact times. If they differ, or if there are no words,
    the text is split at spaces and between CJK characters, and the pieces share the time by their length.
    """
    text = tidy(segment.text)
    if not text:
        return []
    words = [(word, letters) for word in segment.words if (letters := "".join(tidy(word.text).split()))]
    begins = _find([letters for _, letters in words], text)
    if begins is None:
        return _share_time(text, segment, words)
    spans = pairwise([*begins, len(text)])
    return [
        _piece(text, begin, end, word.start, word.end, word.confidence)
        for (begin, end), (word, _) in zip(spans, words, strict=True)
    ]


def join(pieces: Sequence[AlignedPiece]) -> str:
    """The text of consecutive pieces."""
    return "".join(f" {piece.text}" if piece.spaced and k else piece.text for k, piece in enumerate(pieces))


def _piece(text: str, begin: int, end: int, start_s: float, end_s: float, confidence: float | None) -> AlignedPiece:
    spaced = begin > 0 and text[begin - 1].isspace()
    start_s = max(0.0, start_s)
    return AlignedPiece(text[begin:end].strip(), spaced, start_s, max(start_s, end_s), confidence)


def _find(words: Sequence[str], text: str) -> list[int] | None:
    """Index in the text at which the piece of each word begins, or None if the words do not spell the text.

    Only spaces and punctuation may be between the words. Punctuation belongs to the adjacent word; between two words it
    belongs to the first, except opening punctuation."""
    places = [at for at, char in enumerate(text) if not char.isspace()]
    visible = "".join(text[at] for at in places)
    begins: list[int] = []
    done = 0
    for word in words:
        at = visible.find(word, done)
        if at < 0 or any(char.isalnum() for char in visible[done:at]):
            return None
        begins.append(_begin(text, places[done], places[at]) if begins else 0)
        done = at + len(word)
    if not begins or any(char.isalnum() for char in visible[done:]):
        return None
    return begins


def _begin(text: str, earliest: int, word: int) -> int:
    """Index at which the piece of the word at `word` begins, between `earliest` and `word`.

    The piece includes the punctuation after the last space, or without a space the opening punctuation."""
    space = text.rfind(" ", earliest, word)
    if space >= 0 or text[earliest - 1].isspace():
        return max(space + 1, earliest)
    while word > earliest and text[word - 1] in OPENING:
        word -= 1
    return word


def _share_time(text: str, segment: Segment, words: Sequence[tuple[Word, str]]) -> list[AlignedPiece]:
    spans = list(_tokens(text))
    places = _Places(segment, words, sum(end - begin for begin, end in spans))
    pieces = []
    done = 0
    for begin, end in spans:
        until = done + end - begin
        pieces.append(_piece(text, begin, end, places.start(done), places.end(until), places.confidence(done)))
        done = until
    return pieces


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    """Begin and end of each word between spaces, and of each CJK character with the punctuation next to it."""
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at].isspace():
            yield begin, at
            begin = at + 1
        elif at > begin and may_break(text[at - 1], text[at]):
            yield begin, at
            begin = at


class _Places:
    """Times of the positions in a text of `count` visible characters, interpolated from words with another spelling."""

    def __init__(self, segment: Segment, words: Sequence[tuple[Word, str]], count: int) -> None:
        timed = words or [(Word(text="", start=segment.start, end=segment.end), "x" * count)]
        self._count = count
        self._letters = [
            (word.start + step * k, step, word.confidence)
            for word, letters in timed
            for step in [max(0.0, word.end - word.start) / len(letters)]
            for k in range(len(letters))
        ]

    def start(self, position: int) -> float:
        at, part = divmod(position * len(self._letters), self._count)
        start, step, _ = self._letters[at]
        return start + step * part / self._count

    def end(self, position: int) -> float:
        at, part = divmod(position * len(self._letters) - 1, self._count)
        start, step, _ = self._letters[at]
        return start + step * (part + 1) / self._count

    def confidence(self, position: int) -> float | None:
        return self._letters[position * len(self._letters) // self._count][2]
