"""Finds the words of the service in a text that spells some words differently. No I/O."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

_MAX_CHARACTERS: Final = 1000
"""Longer segments are not matched, because the time of the comparison grows with the square of the length if a
character repeats, as in the loop of a recognizer: 0.2 s for 1,000 characters, 2.5 s for 4,000."""


def match_words(visible: str, words: Sequence[str]) -> list[tuple[int, int] | None]:
    """Return the begin and end of each word in the visible characters of a text, or None for a word that is spelled
    differently.

    Differences of case and width (`５` and `5`) are ignored. The spans are in order and do not overlap."""
    letters = "".join(words)
    if not letters or len(visible) > _MAX_CHARACTERS or len(letters) > _MAX_CHARACTERS:
        return [None] * len(words)
    there = _positions(_folded(visible), _folded(letters))
    result: list[tuple[int, int] | None] = []
    done = 0
    for word in words:
        found = [there.get(at) for at in range(done, done + len(word))]
        done += len(word)
        result.append(_span(visible, [at for at in found if at is not None], len(word)))
    return result


def _positions(visible: str, letters: str) -> dict[int, int]:
    """Return, for the index of each letter that occurs in the visible characters, the index of the matching character.
    Both are in order."""
    blocks = SequenceMatcher(a=letters, b=visible, autojunk=False).get_matching_blocks()
    return {block.a + k: block.b + k for block in blocks for k in range(block.size)}


def _span(visible: str, found: Sequence[int], size: int) -> tuple[int, int] | None:
    """Return the span of a word of `size` letters. Returns None unless all letters were found near each other, as a
    separate word."""
    if len(found) < size:
        return None
    begin, end = found[0], found[-1] + 1
    if end - begin > size + size // 3:
        return None
    inside_latin = (begin > 0 and _joined(visible[begin - 1 : begin + 1])) or _joined(visible[end - 1 : end + 1])
    return None if inside_latin and size < end - begin else (begin, end)


def _joined(pair: str) -> bool:
    return len(pair) == 2 and pair.isascii() and pair.isalnum()


def _folded(text: str) -> str:
    return "".join(_fold(text))


def _fold(text: str) -> Iterator[str]:
    for char in text:
        plain = unicodedata.normalize("NFKC", char).lower()
        yield plain if len(plain) == 1 else char
