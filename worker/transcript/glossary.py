"""Corrects names and terms in recognized text with a glossary: pairs of heard and wanted terms. No I/O.

If several terms match at a position, the longest one applies. A wanted term that the text already contains does not
change. Terms match whole words only: see `_is_boundary`. The case of letters and the amount of white space in heard
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

MAX_TERMS: Final = 1000
MAX_TERM_CHARACTERS: Final = 100
MAX_CHARACTERS: Final = 20_000
"""Maximum of characters of all terms together: each job stores its glossary in Redis."""
_SPACES: Final = re.compile(r"\s+")
# Scripts without spaces between words. The first word of a character's Unicode name is its script.
_UNSPACED: Final = frozenset(
    ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR", "IDEOGRAPHIC")
)
_NUMBER_SIGNS: Final = ".,:/-–·"
_INSIDE_WORDS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"[A-Za-z]{1,10}://[!-~]{1,500}|[A-Za-z0-9_.+-]{1,64}@[A-Za-z0-9.-]{1,100}"  # addresses
    r"|[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)+"  # domains, file names, a.m., U.S
    r"|[A-Za-z]+['’`´](?!s\b)[A-Za-z]+"  # don't, o'clock, c'mon; but not the possessive
    r"|[A-Za-z]{1,2}[&/][A-Za-z]{1,2}(?![A-Za-z])"  # R&D, w/o
    r"|(?:anti|non|post|pre|pro|self|semi)[-‐‑][A-Za-z]+"
    r"|[A-Za-z]{1,2}[-‐‑][A-Za-z]+|[A-Za-z]+[-‐‑][A-Za-z]{1,2}(?![A-Za-z])"  # e-mail, al-Banna
    r"|卡[拉啦]ok|t[恤裇]|k歌|x光|aa制|q版|u盤)",
    re.IGNORECASE,
)
"""Words with signs or with two scripts inside. A term that is only a part of one does not match: `don` is not a word of
`don't`."""

Term = tuple[str, str]
WordBegins = Callable[[str], Iterable[int]]
"""Returns the indices at which the words of a text begin."""


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
    word."""

    def __init__(self, terms: Sequence[Term], word_begins: WordBegins | None = None) -> None:
        self._wanted = {heard.casefold(): wanted for heard, wanted in terms}
        self._word_begins = word_begins
        texts = {text.casefold(): text for pair in terms for text in reversed(pair)}
        longest_first = sorted(texts.values(), key=len, reverse=True)
        patterns = [_pattern(text) for text in longest_first]
        self._any = re.compile("|".join(patterns), re.IGNORECASE) if patterns else None
        # Terms are grouped by their first character, so that at each position only a few of a thousand terms are tried.
        self._by_first: dict[str, list[re.Pattern[str]]] = {}
        for text, pattern in zip(longest_first, patterns, strict=True):
            self._by_first.setdefault(_first(text), []).append(re.compile(pattern, re.IGNORECASE))

    def correct(self, segment: Segment) -> Segment:
        """Return the segment with corrected text and corrected words. The new segment also contains the original text
        and the list of corrections. A segment without a heard term is returned unchanged."""
        matches = list(self._matches(segment.text))
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

    def _matches(self, text: str) -> Iterator[_Match]:
        if self._any is None or not (first := self._any.search(text)):
            return
        begins = None if self._word_begins is None else {*self._word_begins(text), len(text)}
        inside = {at for word in _INSIDE_WORDS.finditer(text) for at in range(word.start() + 1, word.end())}
        at = first.start()
        while found := self._any.search(text, at):
            at = found.start()
            ends = () if at in inside else (end for end in self._ends(text, at) if end not in inside)
            end = next((end for end in ends if _is_whole(text, at, end, begins)), None)
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
    segments: Sequence[Segment], terms: Sequence[Term], word_begins: WordBegins | None = None
) -> list[Segment]:
    """Return the segments with the corrections of a glossary."""
    glossary = Glossary(terms, word_begins)
    return [glossary.correct(segment) for segment in segments]


def _pattern(term: str) -> str:
    return r"\s+".join(map(re.escape, term.split()))


def _first(text: str) -> str:
    """Return the first character of a text, normalized: the result is the same for all characters that `re.IGNORECASE`
    treats as equal."""
    return text[0].casefold()[0].replace("ı", "i")  # casefold does not change the Turkish letter


def _is_whole(text: str, begin: int, end: int, begins: set[int] | None) -> bool:
    return _is_boundary(text, begin, begins) and _is_boundary(text, end, begins)


def _is_boundary(text: str, at: int, begins: set[int] | None) -> bool:
    """Whether a word may begin or end at an index.

    An index between two Chinese characters is a boundary if a word begins there. An index is no boundary between
    letters or digits of other scripts, inside a number (3.5, 12:30), or before a combining mark. All other indices are
    boundaries."""
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    if unicodedata.category(after).startswith("M") or after == "\u200d" or before == "\u200d":
        return False
    around = text[at - 2 : at + 1] if before in _NUMBER_SIGNS else text[at - 1 : at + 2]
    if len(around) == 3 and around[1] in _NUMBER_SIGNS and around[0].isdigit() and around[2].isdigit():
        return False
    if not (_in_word(before) and _in_word(after)):
        return True
    unspaced = _is_unspaced(before), _is_unspaced(after)
    if all(unspaced):
        return begins is None or at in begins
    return any(unspaced)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")


def _is_unspaced(character: str) -> bool:
    return unicodedata.name(character, "").partition(" ")[0].partition("-")[0] in _UNSPACED


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
