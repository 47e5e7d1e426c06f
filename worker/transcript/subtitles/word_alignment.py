"""Aligns the words of a segment with its text, so that each piece of the text has a start and an end. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from worker.transcript.model import Segment, Word
from worker.transcript.subtitles.cjk_spacing import OPENING, may_break, tidy


@dataclass(frozen=True, slots=True)
class AlignedPiece:
    """A word as it is spelled in the text, with the punctuation next to it. Times are seconds of the file."""

    text: str
    spaced: bool
    """Whether a space precedes the piece in the text."""
    start: float
    end: float
    confidence: float | None
    """Confidence of the word (0 to 1), or None if the service gave none."""


def align(segment: Segment) -> list[AlignedPiece]:
    """Split the text of a segment (after `tidy`) into pieces with times. `join` restores the text.

    If the words of the segment spell its text, each word gives one piece with the times of the word. If they do not, or
    if there are no words, the text is split at spaces and between CJK characters. Each piece then gets a share of the
    time in proportion to its length.
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
    """Return the text of consecutive pieces."""
    return "".join(f" {piece.text}" if piece.spaced and k else piece.text for k, piece in enumerate(pieces))


def _piece(text: str, begin: int, end: int, start_s: float, end_s: float, confidence: float | None) -> AlignedPiece:
    spaced = begin > 0 and text[begin - 1].isspace()
    start_s = max(0.0, start_s)
    return AlignedPiece(text[begin:end].strip(), spaced, start_s, max(start_s, end_s), confidence)


def _find(words: Sequence[str], text: str) -> list[int] | None:
    """Return the index in the text at which the piece of each word begins, or None if the words do not spell the text.

    The words spell the text if only spaces and punctuation are between them. For punctuation, see `_begin`."""
    # Indices of the visible characters, because a word may contain spaces in the text.
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
    """Return the index at which the piece of a word begins.

    `earliest`: first visible character after the previous word. `word`: first character of the word.
    Punctuation between the two words belongs to the previous word if it is before the last space, else to the next one.
    Without a space, only the opening punctuation right before the word belongs to it."""
    space = text.rfind(" ", earliest, word)
    if space >= 0 or text[earliest - 1].isspace():
        return max(space + 1, earliest)
    while word > earliest and text[word - 1] in OPENING:
        word -= 1
    return word


def _share_time(text: str, segment: Segment, words: Sequence[tuple[Word, str]]) -> list[AlignedPiece]:
    """Split the text at spaces and between CJK characters, with times by the position of each piece in the text."""
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
    """Yield begin and end of each word between spaces, and of each CJK character with the punctuation next to it."""
    begin = 0
    for at in range(1, len(text) + 1):
        if at == len(text) or text[at].isspace():
            yield begin, at
            begin = at + 1
        elif at > begin and may_break(text[at - 1], text[at]):
            yield begin, at
            begin = at


class _Places:
    """Interpolates the times of positions in a text from words that do not spell the text.

    A position is a number of visible characters, from 0 to `count`. It gets the time at the same fraction of the
    letters of all words. Without words, the text has the times of its segment."""

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
