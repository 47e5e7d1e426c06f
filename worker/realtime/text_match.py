"""Compares texts of committed messages by their letters (pure).

Two forms of one commit may differ in case, spacing and punctuation, and a service may repeat the text inside a commit.
Only letters and digits are compared, so that languages without spaces work the same way.
"""

from __future__ import annotations

from typing import Final

AVERAGE_WORD: Final = 5
"""Letters of an average word. A token with digits counts as one word, since its reading is unknown."""
_WIDE: Final = (
    (0x3400, 0x9FFF, 3),
    (0xF900, 0xFAFF, 3),
    (0x20000, 0x3FFFF, 3),
    (0xAC00, 0xD7AF, 3),
    (0x3040, 0x30FF, 2),
)
"""Scripts with one syllable per character, and the number of Latin letters that take as long to speak."""


def letters(text: str) -> str:
    """Letters and digits only, in lower case: two transcripts of the same speech agree in them."""
    return "".join(c for c in text.lower() if c.isalnum())


def same_text(one: str, other: str) -> bool:
    """Whether two texts are equal except for white space at the ends."""
    return one.strip() == other.strip()


def same_letters(one: str, other: str) -> bool:
    """Whether two texts are equal except for case, spacing and punctuation. Texts without letters must be equal."""
    return same_text(one, other) or (bool(letters(one)) and letters(one) == letters(other))


def period(text: str) -> int:
    """Length of the shortest string whose repetition is `text`; the whole length if there is none."""
    return (text + text).find(text, 1) if text else 0


def copies(text: str) -> int:
    """Number of repetitions in `text`: 3 for "So. So, so!", 1 for a text without repetition or letters."""
    plain = letters(text)
    return len(plain) // period(plain) if plain else 1


def same_once(one: str, other: str) -> bool:
    """Whether two texts have the same content, each once or repeated."""
    a, b = letters(one), letters(other)
    return bool(a) and bool(b) and a[: period(a)] == b[: period(b)]


def first_copies(text: str, count: int) -> str:
    """The first `count` copies of a repeated text, with their punctuation."""
    plain = letters(text)
    return up_to_letter(text, period(plain) * count)


def up_to_letter(text: str, count: int) -> str:
    """The start of `text` up to the next letter or digit after the first `count` of them."""
    seen = 0
    for index, character in enumerate(text):
        # Lower case may have more characters than upper case: count as `letters` does.
        own = len(letters(character))
        if own and seen >= count:
            return text[:index].rstrip()
        seen += own
    return text.rstrip()


def effort(text: str) -> int:
    """Duration of a spoken text, measured in Latin letters."""
    return sum(_token_effort(token) for token in text.split())


def _token_effort(token: str) -> int:
    if any(c.isdigit() for c in token):
        return min(AVERAGE_WORD, len(letters(token)))
    return sum(_weight(c) for c in token if c.isalnum())


def _weight(character: str) -> int:
    code = ord(character)
    return next((weight for first, last, weight in _WIDE if first <= code <= last), 1)
