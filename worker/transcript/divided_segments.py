"""Divides segments that surround other segments, so that text is in the order of its speech. No I/O.

A service may commit the words before and after some speech in one text, but not the speech itself. The text of this
speech comes from the second pass, or from a late commit.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

from worker.transcript.model import Segment, Word

MAX_EXAMINED: Final = 50
"""Number of later segments that are compared with a segment. A commit has at most 36 s of speech. Without the limit,
the time would grow with the square of the number of segments if a service sends nonsense."""

_OPENING: Final = "“‘«‹„¿¡([{「『（《〈【〔"
"""Marks that belong to the word after them."""
_QUOTES: Final = "\"'"
_FIRST_UNSPACED: Final = "\u2e80"
"""From this character on, most scripts are written without spaces."""


def in_order(segments: Iterable[Segment]) -> list[Segment]:
    """Return the segments of one section in order of time. A segment that surrounds others is divided.

    No text is lost: a segment stays whole if the place of the cut in its text is unknown."""
    ordered = sorted(segments, key=lambda segment: segment.start)
    divided = [part for number, segment in enumerate(ordered) for part in _divided(segment, ordered, number + 1)]
    return sorted(divided, key=lambda segment: segment.start)


def _divided(segment: Segment, ordered: Sequence[Segment], first: int) -> list[Segment]:
    """Return the parts of a segment. `first`: index of the next segment in `ordered`."""
    middles: list[float] | None = None
    cuts: set[int] = set()
    for other in ordered[first : first + MAX_EXAMINED]:
        if other.start >= segment.end:
            break
        if not segment.words or not other.words:
            continue
        if middles is None:
            middles = [word.middle for word in segment.words]
            if any(a > b for a, b in pairwise(middles)):
                break
        if index := _gap(segment.words, middles, other.words):
            cuts.add(index)
    return _parts(segment, sorted(cuts)) if cuts else [segment]


def _gap(words: Sequence[Word], middles: Sequence[float], others: Sequence[Word]) -> int:
    """Return the index of the word before which all of `others` were spoken, or 0 if they are not in a gap.
    `middles`: those of `words`.

    The middles of words are compared, because their starts and ends are inexact."""
    index = bisect_right(middles, others[0].middle)
    if index in (0, len(words)) or others[-1].middle > middles[index]:
        return 0
    return index if words[index - 1].start <= others[0].start <= words[index].start else 0


def _parts(segment: Segment, cuts: Sequence[int]) -> list[Segment]:
    """Divide a segment before the words with the indexes `cuts`."""
    text, places = segment.text, _places(segment.text, segment.words)
    bounds = [(0, 0)]  # index of the first word and the first character of each part
    for index in cuts:
        place = places[index]
        if place is not None and (at := _cut(text, place)) > bounds[-1][1]:
            bounds.append((index, at))
    bounds.append((len(segment.words), len(text)))
    parts = []
    for (first_word, first), (end_word, end) in pairwise(bounds):
        words = segment.words[first_word:end_word]
        times = {"start": words[0].start, "end": max(word.end for word in words)}
        parts.append(segment.model_copy(update={"text": text[first:end].strip(), "words": words, **times}))
    return parts if len(parts) > 1 else [segment]


def _places(text: str, words: Sequence[Word]) -> list[int | None]:
    """Return the index in the text at which each word begins, or None for words that the text does not contain."""
    places: list[int | None] = []
    position = 0
    for word in words:
        at = text.find(word.text, position) if word.text else -1
        while at >= 0 and not (_divides_words(text, at) and _divides_words(text, at + len(word.text))):
            at = text.find(word.text, at + 1)
        places.append(at if at >= 0 else None)
        if at >= 0:
            position = at + len(word.text)
    return places


def _divides_words(text: str, at: int) -> bool:
    """Whether a position is not inside a word of letters and digits."""
    around = text[max(0, at - 1) : at + 1]
    return len(around) < 2 or not around.isalnum() or max(around) >= _FIRST_UNSPACED


def _cut(text: str, at: int) -> int:
    """Return where the text is cut before the word at `at`: before its opening marks."""
    while at and (
        text[at - 1] in _OPENING
        or (text[at - 1] in _QUOTES and (at == 1 or text[at - 2].isspace() or text[at - 2] in _OPENING))
    ):
        at -= 1
    return at
