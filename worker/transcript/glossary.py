"""Corrects names and terms in recognized text with a glossary: pairs of heard and wanted terms. No I/O.

If several terms match at a position, the longest one applies. A wanted term that the text already contains does not
change. Terms match whole words only: see `term_boundaries`. The case of letters and the amount of white space in heard
terms do not matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from worker.transcript.model import Correction, Segment, Word
from worker.transcript.term_boundaries import TermBoundaries

MAX_TERMS: Final = 1000
MAX_TERM_CHARACTERS: Final = 100
MAX_CHARACTERS: Final = 20_000
"""Maximum of characters of all terms together: each job stores its glossary in Redis."""
_SPACES: Final = re.compile(r"\s+")
_NEIGHBOUR_CHARACTERS: Final = 8
_MAX_PAUSE_INSIDE_WORD_S: Final = 0.05

Term = tuple[str, str]
WordBegins = Callable[[str], Iterable[int]]
"""Returns the indices at which the words of a text begin."""
IsWord = Callable[[str], bool]
"""Returns whether a text is one word."""


def checked_terms(terms: Iterable[Sequence[str]]) -> tuple[Term, ...]:
    """Return the pairs of heard and wanted terms, without duplicates and without white space around the terms. Raises
    ValueError for a term that is empty or too long, for contradictory pairs and for too many terms."""
    found: dict[str, Term] = {}
    for number, (raw_heard, raw_wanted) in enumerate(terms, 1):
        heard, wanted = (_SPACES.sub(" ", text).strip() for text in (raw_heard, raw_wanted))
        _check_term(number, heard, wanted)
        other = found.setdefault(heard.casefold(), (heard, wanted))
        if other[1] != wanted:
            raise ValueError(f"term {number}: {heard} has two corrections, {other[1]} and {wanted}")
    if len(found) > MAX_TERMS:
        raise ValueError(f"has {len(found)} terms; the maximum is {MAX_TERMS}")
    if (size := sum(len(heard) + len(wanted) for heard, wanted in found.values())) > MAX_CHARACTERS:
        raise ValueError(f"has {size} characters; the maximum is {MAX_CHARACTERS}")
    return tuple(found.values())


def _check_term(number: int, heard: str, wanted: str) -> None:
    for name, text in (("heard", heard), ("wanted", wanted)):
        if not any(c.isalnum() for c in text):
            raise ValueError(f"term {number}: the {name} term {text!r} has no letter or digit")
        if len(text) > MAX_TERM_CHARACTERS:
            raise ValueError(f"term {number}: the {name} term is longer than {MAX_TERM_CHARACTERS} characters")
        if any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text):
            raise ValueError(f"term {number}: the {name} term contains a control character")


Terms = Annotated[tuple[Term, ...], Field(max_length=10 * MAX_TERMS), AfterValidator(checked_terms)]
"""Field type of a glossary in a job."""


@dataclass(frozen=True, slots=True)
class _Match:
    begin: int
    end: int
    wanted: str


class Glossary:
    """A compiled glossary. `word_begins` divides Chinese text into words. Without it, every Chinese character is a
    word. `is_word` finds longer words around a Chinese term."""

    def __init__(
        self, terms: Sequence[Term], word_begins: WordBegins | None = None, is_word: IsWord | None = None
    ) -> None:
        self._wanted = {heard.casefold(): wanted for heard, wanted in terms}
        self._word_begins = word_begins
        self._is_word = is_word
        texts = {text.casefold(): text for pair in terms for text in reversed(pair)}
        longest_first = sorted(texts.values(), key=len, reverse=True)
        patterns = [_pattern(text) for text in longest_first]
        self._any = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None
        # Terms are grouped by their first character, so that at each position only a few of a thousand terms are tried.
        self._by_first: dict[str, list[re.Pattern[str]]] = {}
        for text, pattern in zip(longest_first, patterns, strict=True):
            self._by_first.setdefault(_first(text), []).append(re.compile(pattern, re.IGNORECASE))

    def correct(self, segment: Segment, before: str = "", after: str = "") -> Segment:
        """Return the segment with corrected text and corrected words. The new segment also contains the original text
        and the list of corrections. A segment without a heard term is returned unchanged.

        `before`, `after`: the text that is spoken without a pause before and after the segment. A term is not corrected
        if it is a part of a word that continues there."""
        matches = list(self._matches(segment.text, before, after))
        if not matches:
            return segment
        text, corrections = _replaced(segment.text, matches)
        update = {
            "text": text,
            "words": tuple(_corrected_words(segment, matches)),
            "original_text": segment.text,
            "corrections": tuple(corrections),
        }
        return segment.model_copy(update=update)

    def _matches(self, text: str, before: str, after: str) -> Iterator[_Match]:
        if self._any is None or not (first := self._any.search(text)):
            return
        spoken, shift = before + text + after, len(before)
        begins = None if self._word_begins is None else {*self._word_begins(spoken), len(spoken)}
        boundaries = TermBoundaries(spoken, begins, self._is_word)
        at = first.start()
        while found := self._any.search(text, at):
            at = found.start()
            end = next((end for end in self._ends(text, at) if boundaries.is_whole(at + shift, end + shift)), None)
            if end is None:
                at += 1
                continue
            match = text[at:end]
            wanted = self._wanted.get(_SPACES.sub(" ", match).casefold())
            if wanted is not None and wanted != match:
                yield _Match(at, end, wanted)
            at = end

    def _ends(self, text: str, at: int) -> Iterator[int]:
        """Yield the ends of all terms at a position, the longest first."""
        patterns = self._by_first.get(_first(text[at]), ())
        return (found.end() for pattern in patterns if (found := pattern.match(text, at)))


def correct_segments(
    segments: Sequence[Segment],
    terms: Sequence[Term],
    word_begins: WordBegins | None = None,
    is_word: IsWord | None = None,
) -> list[Segment]:
    """Return the segments with the corrections of a glossary."""
    glossary = Glossary(terms, word_begins, is_word)
    return [glossary.correct(segment, *_neighbours(segments, at)) for at, segment in enumerate(segments)]


def _neighbours(segments: Sequence[Segment], at: int) -> tuple[str, str]:
    """Return the ends of the texts that are spoken without a pause before and after a segment."""
    before = segments[at - 1].text[-_NEIGHBOUR_CHARACTERS:] if at and _is_joined(segments[at - 1], segments[at]) else ""
    if at + 1 == len(segments) or not _is_joined(segments[at], segments[at + 1]):
        return before, ""
    return before, segments[at + 1].text[:_NEIGHBOUR_CHARACTERS]


def _is_joined(earlier: Segment, later: Segment) -> bool:
    """Whether a word may extend over the border of two segments. Latin words do not: a recognizer divides only Chinese
    text inside a word."""
    last, first = earlier.text[-1:], later.text[:1]
    if not (last.isalpha() and first.isalpha()) or last.isascii() or first.isascii():
        return False
    return earlier.channel == later.channel and later.start - earlier.end <= _MAX_PAUSE_INSIDE_WORD_S


def _pattern(term: str) -> str:
    return r"\s+".join(map(re.escape, term.split()))


def _first(text: str) -> str:
    """Return the first character of a text, normalized: the result is the same for all characters that `re.IGNORECASE`
    treats as equal."""
    return text[0].casefold()[0].replace("ı", "i")  # casefold does not change the Turkish letter


def _replaced(text: str, matches: Sequence[_Match]) -> tuple[str, list[Correction]]:
    pieces, corrections, done, size = [], [], 0, 0
    for match in matches:
        pieces += [text[done : match.begin], match.wanted]
        size += match.begin - done
        corrections.append(Correction(heard=text[match.begin : match.end], wanted=match.wanted, position=size))
        size += len(match.wanted)
        done = match.end
    return "".join([*pieces, text[done:]]), corrections


def _corrected_words(segment: Segment, matches: Sequence[_Match]) -> Iterator[Word]:
    """Yield the words of the corrected text. A corrected term has the time of the words that it replaces."""
    spans = _word_spans(segment)
    done = 0
    for group in _groups(spans, matches):
        first, last = group[0][0], group[-1][1]
        yield from segment.words[done:first]
        yield from _joined(segment, first, last, spans, [match for _, _, match in group])
        done = last
    yield from segment.words[done:]


def _word_spans(segment: Segment) -> list[tuple[int, int] | None]:
    """Return the span of each word in the segment's text, or None for a word that the text does not contain."""
    spans: list[tuple[int, int] | None] = []
    at = 0
    for word in segment.words:
        found = segment.text.find(word.text, at, at + len(word.text) + 20) if word.text else -1
        spans.append((found, found + len(word.text)) if found >= 0 else None)
        at = at if found < 0 else found + len(word.text)
    return spans


def _groups(
    spans: Sequence[tuple[int, int] | None], matches: Sequence[_Match]
) -> Iterator[list[tuple[int, int, _Match]]]:
    """Yield (index of the first word, end of the words, match) for each match, in groups of matches that share words. A
    match whose words are not found in the text is omitted, because the times of these words are unknown."""
    group: list[tuple[int, int, _Match]] = []
    for match in matches:
        covered = [n for n, span in enumerate(spans) if span and span[0] < match.end and span[1] > match.begin]
        if not covered:
            continue
        first, end = covered[0], covered[-1] + 1
        if group and first >= group[-1][1]:
            yield group
            group = []
        group.append((first, end, match))
    if group:
        yield group


def _joined(
    segment: Segment,
    first: int,
    end: int,
    spans: Sequence[tuple[int, int] | None],
    matches: Sequence[_Match],
) -> Iterator[Word]:
    """Yield the words that replace the words from `first` to `end`. If a correction has several words, they share the
    time in proportion to their numbers of characters."""
    words = segment.words[first:end]
    located = [span for span in spans[first:end] if span]
    begin, stop = located[0][0], located[-1][1]
    inside = [_Match(max(m.begin, begin) - begin, min(m.end, stop) - begin, m.wanted) for m in matches]
    texts = _replaced(segment.text[begin:stop], inside)[0].split()
    known = [word.confidence for word in words if word.confidence is not None]
    bounds = [0]
    for text in texts:
        bounds.append(bounds[-1] + len(text))
    start, seconds = words[0].start, words[-1].end - words[0].start
    for text, (low, high) in zip(texts, pairwise(bounds), strict=True):
        yield Word(
            text=text,
            start=round(start + seconds * low / bounds[-1], 3),
            end=round(start + seconds * high / bounds[-1], 3),
            confidence=min(known, default=None),
        )


__all__ = [
    "MAX_CHARACTERS",
    "MAX_TERMS",
    "MAX_TERM_CHARACTERS",
    "Glossary",
    "Term",
    "Terms",
    "checked_terms",
    "correct_segments",
]
