"""Figures of merit: word error rate, and how exact the starts of words are (pure).

Both texts are first normalized with Whisper's English normalizer. So differences of case, punctuation, fillers,
contractions and the spelling of numbers are no errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import jiwer
import opencc
from whisper_normalizer.english import EnglishTextNormalizer

_normalise = EnglishTextNormalizer()
_BETWEEN_DIGITS = re.compile(r"(?<=\d)(?=\d)")
_ONE = re.compile(r"\bone\b")


@dataclass(frozen=True, slots=True)
class WordErrors:
    """Number of errors and of words in the reference. Instances can be added, for the rate of a corpus."""

    errors: int
    words: int

    def __add__(self, other: WordErrors) -> WordErrors:
        return WordErrors(self.errors + other.errors, self.words + other.words)

    @property
    def percent(self) -> float:
        return 100 * self.errors / self.words if self.words else 0.0


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Count the substitutions, deletions and insertions of the best alignment of two texts."""
    said, heard = _words(reference), _words(hypothesis)
    if not said:
        return WordErrors(len(heard.split()), 0)
    result = jiwer.process_words(said, heard)
    return WordErrors(result.substitutions + result.deletions + result.insertions, len(said.split()))


def _words(text: str) -> str:
    # The normalizer joins the digits of a spoken number as the text groups them: "one two, three" is "12 3". Digits are
    # compared one by one, because the grouping is a matter of spelling. It writes a single "1" as "one".
    return _ONE.sub("1", _BETWEEN_DIGITS.sub(" ", _normalise(text)))


_UNSPACED = ("yue", "zh", "ja", "th")
_to_simplified = opencc.OpenCC("t2s")


def character_errors(reference: str, hypothesis: str) -> WordErrors:
    """Count errors in characters, in simplified script, without punctuation and spaces."""
    said, heard = _characters(reference), _characters(hypothesis)
    if not said:
        return WordErrors(len(heard), 0)
    result = jiwer.process_characters(said, heard)
    return WordErrors(result.substitutions + result.deletions + result.insertions, len(said))


def errors_of(language: str, reference: str, hypothesis: str) -> WordErrors:
    """Count errors in characters for a language without spaces, otherwise in words."""
    compare = character_errors if language in _UNSPACED else word_errors
    return compare(reference, hypothesis)


def _characters(text: str) -> str:
    return "".join(c for c in _to_simplified.convert(text).lower() if c.isalnum())


def total(parts: Iterable[WordErrors]) -> WordErrors:
    return sum(parts, WordErrors(0, 0))


@dataclass(frozen=True, slots=True)
class StartAccuracy:
    """Differences between the recognized and the annotated starts of words, for the words that were recognized."""

    matched: int
    gold: int
    within_200_ms_percent: float
    median_ms: float


def start_accuracy(gold: Sequence[tuple[str, float]], heard: Sequence[tuple[str, float]]) -> StartAccuracy:
    """Compare two lists of (word, start in seconds). Words are matched in order by their letters."""
    matcher = SequenceMatcher(a=[_bare(w) for w, _ in gold], b=[_bare(w) for w, _ in heard], autojunk=False)
    off_ms = sorted(
        1000 * abs(gold[block.a + k][1] - heard[block.b + k][1])
        for block in matcher.get_matching_blocks()
        for k in range(block.size)
    )
    if not off_ms:
        return StartAccuracy(0, len(gold), 0.0, float("nan"))
    within = 100 * sum(off <= 200 for off in off_ms) / len(off_ms)
    return StartAccuracy(len(off_ms), len(gold), within, off_ms[len(off_ms) // 2])


def _bare(word: str) -> str:
    return "".join(c for c in word.lower() if c.isalnum())
