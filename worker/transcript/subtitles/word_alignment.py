"""Aligns the words of a segment with its text, so that each piece of the text has a start and an end. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from worker.transcript.model import Segment, Word
from worker.transcript.subtitles.cjk_spacing import OPENING, tidy
from worker.transcript.subtitles.line_breaks import breaks
from worker.transcript.subtitles.unbroken_phrases import AUDIO_EVENT
from worker.transcript.subtitles.word_matching import match_words


@dataclass(frozen=True, slots=True)
class AlignedPiece:
    """A word as it is spelled in the text, with the punctuation next to it. Times are positions in the file, in
    seconds."""

    text: str
    spaced: bool
    """Whether a space precedes the piece in the text."""
    start: float
    end: float
    confidence: float | None
    """Confidence of the word (0 to 1), or None if the service gave none."""


def align(segment: Segment) -> list[AlignedPiece]:
    """Split the text of a segment (after `tidy`) into pieces with times. `join` restores the text.

    If the words of the segment spell its text, each word gives one piece with the times of the word. A part of the text
    that differs from its words (`12,000` and 一萬二千), or that has no words (`(掌聲)`), is split at spaces and between
    CJK characters. Its pieces share the time of its words in proportion to their lengths. Without words, they share the
    silence around the part.
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

    `earliest`: first visible character after the previous word. `word`: first character of the word. Punctuation
    between the two words belongs to the previous word if it is before the last space, otherwise to the next word. If
    there is no space, only opening punctuation directly before the next word belongs to that word."""
    space = text.rfind(" ", earliest, word)
    if space >= 0 or text[earliest - 1].isspace():
        return max(space + 1, earliest)
    while word > earliest and text[word - 1] in OPENING:
        word -= 1
    return word


def _share_time(text: str, segment: Segment, words: Sequence[tuple[Word, str]]) -> list[AlignedPiece]:
    """Split a text that its words do not spell. A word that matches the text gives its own time to its piece. The
    pieces between two matching words share the time between these words."""
    places = [at for at, char in enumerate(text) if not char.isspace()]
    spans = match_words("".join(text[at] for at in places), [letters for _, letters in words])
    pieces: list[AlignedPiece] = []
    gap = _Gap(text, begin=0, start_s=segment.start)
    for (word, letters), span in zip(words, spans, strict=True):
        if span is None:
            gap.words.append((word, letters))
            continue
        begin = _begin(text, gap.begin, places[span[0]]) if gap.begin else places[span[0]]
        if gap.words or any(char.isalnum() for char in text[gap.begin : begin]):
            pieces += gap.pieces(begin, word.start)
        elif not pieces:
            begin = 0
        else:
            pieces[-1] = _extended(pieces[-1], text[gap.begin : begin])
        end = places[span[1] - 1] + 1
        pieces.append(_piece(text, begin, end, word.start, word.end, word.confidence))
        gap = _Gap(text, begin=end, start_s=max(0.0, word.end))
    return pieces + gap.pieces(len(text), segment.end) if gap.begin < len(text) else pieces


def _extended(piece: AlignedPiece, text: str) -> AlignedPiece:
    return replace(piece, text=(piece.text + text).rstrip())


@dataclass(slots=True)
class _Gap:
    """A part of the text that differs from its words, between two words that match."""

    text: str
    begin: int
    start_s: float
    words: list[tuple[Word, str]] = field(default_factory=list)

    def pieces(self, end: int, end_s: float) -> list[AlignedPiece]:
        """Return the pieces of the text up to `end`. The pieces share the time of the words of the gap in proportion to
        their lengths.

        The time of a gap without words, such as `(掌聲)`, is the silence between the words around it."""
        spans = [(self.begin + begin, self.begin + until) for begin, until in _tokens(self.text[self.begin : end])]
        count = sum(len("".join(self.text[begin:until].split())) for begin, until in spans)
        silence = Word(text="", start=self.start_s, end=max(self.start_s, end_s))
        places = _Places(self.words or [(silence, "x" * max(1, count))], count)
        found = []
        done = 0
        for begin, until in spans:
            last = done + len("".join(self.text[begin:until].split()))
            times = places.start(done), places.end(last)
            found.append(_piece(self.text, begin, until, *times, places.confidence(done) if self.words else None))
            done = last
        return found


def _tokens(text: str) -> Iterator[tuple[int, int]]:
    """Yield the begin and end of each part of a text. A part extends from one position at which a line may break to the
    next one. An audio event is one part."""
    inside = {at for match in AUDIO_EVENT.finditer(text) for at in range(match.start() + 1, match.end())}
    for begin, end in pairwise([0, *(at for at in breaks(text) if at not in inside), len(text)]):
        bare = text[begin:end].strip()
        if bare:
            at = begin + text[begin:end].index(bare)
            yield at, at + len(bare)


class _Places:
    """Interpolates the times of positions in a text from words that do not spell the text.

    A position is a number of visible characters, from 0 to `count`. If a position is at a certain fraction of the text,
    its time is the time at the same fraction of the letters of all words."""

    def __init__(self, timed: Sequence[tuple[Word, str]], count: int) -> None:
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
