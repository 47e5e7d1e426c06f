"""The words of a segment laid on its text: every piece of the text with the time it was said (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from worker.transcript.model import Segment, Word
from worker.transcript.subtitles.cjk_spacing import OPENING, may_break, tidy


@dataclass(frozen=True, slots=True)
class AlignedPiece:
    """A word as it stands in the text, with the punctuation that clings to it. Times are seconds of the file."""

    text: str
    spaced: bool
    """A space stands before it."""
    start: float
    end: float
    confidence: float | None


def align(segment: Segment) -> list[AlignedPiece]:
    """All of a segment's text (`tidy`), in order; joined, with a space where `spaced` says so, it is that text.

    Words that are the text give exact pieces. Where words and text differ, or there are no words, the text is cut at
    its spaces and between CJK characters, and the pieces share the time by their length.
    """
    text = tidy(segment.text)
    if not text:
        return []
    words = [(word, letters) for word in segment.words if (letters := "".join(tidy(word.text).split()))]
    begins = _find([letters for _, letters in words], text)
    if begins is None:
        return _shared(text, segment, words)
    spans = pairwise([*begins, len(text)])
    return [
        _piece(text, begin, end, word.start, word.end, word.confidence)
        for (begin, end), (word, _) in zip(spans, words, strict=True)
    ]


def join(pieces: Sequence[AlignedPiece]) -> str:
    """The text of some pieces in a row."""
    return "".join(f" {piece.text}" if piece.spaced and k else piece.text for k, piece in enumerate(pieces))


def _piece(text: str, begin: int, end: int, start_s: float, end_s: float, confidence: float | None) -> AlignedPiece:
    spaced = begin > 0 and text[begin - 1].isspace()
    start_s = max(0.0, start_s)
    return AlignedPiece(text[begin:end].strip(), spaced, start_s, max(start_s, end_s), confidence)


def _find(words: Sequence[str], text: str) -> list[int] | None:
    """Where each word's piece begins in the text, or None where the words, spaces aside, are not found in order with
    nothing but signs between them. Signs cling to the word they touch, on both sides to the one before, opening ones
    to the one after."""
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


def _begin(text: str, least: int, word: int) -> int:
    """The signs from `least` to the word: those after the last space are its own, or at least the opening ones."""
    space = text.rfind(" ", least, word)
    if space >= 0 or text[least - 1].isspace():
        return max(space + 1, least)
    while word > least and text[word - 1] in OPENING:
        word -= 1
    return word


def _shared(text: str, segment: Segment, words: Sequence[tuple[Word, str]]) -> list[AlignedPiece]:
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
    """Begin and end of what stands between spaces, and of each CJK character with the signs that cling to it."""
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at].isspace():
            yield begin, at
            begin = at + 1
        elif at > begin and may_break(text[at - 1], text[at]):
            yield begin, at
            begin = at


class _Places:
    """The times along a text of `count` visible characters, from words laid along it by position."""

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
