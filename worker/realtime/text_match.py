"""Compares texts of committed messages by their letters. No I/O.

The service may send one committed text in two messages (plain, and with word times). They may differ in case, spacing
and punctuation, and one may contain the text several times. Only letters and digits are compared, not words, because
some languages have no spaces between words.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

AVERAGE_WORD: Final = 5
"""Letters of an average word. A token with digits counts as at most one word, since its reading is unknown."""
_WIDE: Final = (
    (0x3400, 0x9FFF, 3),
    (0xF900, 0xFAFF, 3),
    (0x20000, 0x3FFFF, 3),
    (0xAC00, 0xD7AF, 3),
    (0x3040, 0x30FF, 2),
)
"""Scripts with one syllable per character: first and last code point, and the number of Latin letters that take as long
to speak as one character."""


@lru_cache(maxsize=256)  # the texts of one commit are compared about 25 times
def letters(text: str) -> str:
    """Return only the letters and digits of `text`, in lower case, without spacing and punctuation."""
    return "".join(c for c in text.lower() if c.isalnum())


def same_text(one: str, other: str) -> bool:
    """Whether two texts are equal except for white space at the ends."""
    return one.strip() == other.strip()


def same_letters(one: str, other: str) -> bool:
    """Whether two texts are equal except for case, spacing and punctuation. Texts without letters must be equal."""
    return same_text(one, other) or (bool(letters(one)) and letters(one) == letters(other))


def period(text: str) -> int:
    """Return the length of the shortest string whose repetition gives exactly `text`: 3 for "abcabc", 4 for "abca"."""
    # "abcabc" twice contains "abcabc" at 3 as well, where its second repetition begins.
    return (text + text).find(text, 1) if text else 0


def copies(text: str) -> int:
    """Return how many times `text` contains the same text in a row: 3 for "So. So, so!". The result is 1 if nothing is
    repeated, or if the text has no letters."""
    plain = letters(text)
    return len(plain) // period(plain) if plain else 1


def same_once(one: str, other: str) -> bool:
    """Whether two texts are equal after repetitions inside each text are removed. For example, "So." equals "So. So,
    so!"."""
    a, b = letters(one), letters(other)
    return bool(a) and bool(b) and a[: period(a)] == b[: period(b)]


def first_copies(text: str, count: int) -> str:
    """Return the first `count` copies of a text that consists of repetitions, with their punctuation."""
    plain = letters(text)
    return up_to_letter(text, period(plain) * count)


def up_to_letter(text: str, count: int) -> str:
    """Return the start of `text` with its first `count` letters and digits, and the punctuation after them."""
    seen = 0
    for index, character in enumerate(text):
        # A character may become several in lower case: count the characters that `letters` returns.
        own = len(letters(character))
        if own and seen >= count:
            return text[:index].rstrip()
        seen += own
    return text.rstrip()


def effort(text: str) -> int:
    """Estimate how long a text takes to speak, in units of the time for one Latin letter."""
    return sum(_token_effort(token) for token in text.split())


def _token_effort(token: str) -> int:
    if any(c.isdigit() for c in token):
        return min(AVERAGE_WORD, len(letters(token)))
    return sum(_weight(c) for c in token if c.isalnum())


def _weight(character: str) -> int:
    code = ord(character)
    return next((weight for first, last, weight in _WIDE if first <= code <= last), 1)
