"""Finds words of a commit that repeat earlier words of it at the same times. No I/O.

Such a word is spoken once and listed twice. For single characters, equal times are not enough: the times must go back
after other words. Characters that are said twice, as in 媽媽 or 行行, often share the times of one token, and the
letters of a word may be only milliseconds apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from worker.realtime.commit_pairing import SAME_TIME_S
from worker.realtime.messages import WireWord

_SAME_MS: Final = round(SAME_TIME_S * 1000)


def echoes(words: Sequence[WireWord]) -> set[int]:
    """Return the indices of the words that repeat earlier words at the same times. Words without a time or without a
    duration are never among them.

    The time does not grow with the square of the number of words: a commit may list thousands of equal words."""
    found: set[int] = set()
    earlier = _EarlierWords()
    latest = _LatestStarts()
    for index, word in enumerate(words):
        if word.start is None:
            continue
        start_ms = round(word.start * 1000)
        if (word.end or 0.0) > word.start:
            first = earlier.first_at_same_time(word.text, start_ms)
            back = latest.last_after(start_ms + _SAME_MS)
            # In a repeated run of characters, only the first one goes back in time.
            again = first is not None and (first < back or (index - 1 in found and first < index - 1))
            if again or (first is not None and len(word.text.strip()) > 1):
                found.add(index)
        earlier.add(word.text, start_ms, index)
        latest.add(start_ms, index)
    return found


class _EarlierWords:
    """The first words so far with each text and start, in milliseconds."""

    def __init__(self) -> None:
        self._by_bucket: dict[tuple[str, int], dict[int, int]] = defaultdict(dict)
        """Start -> index, for the words with one text within _SAME_MS. So each bucket has few entries."""

    def add(self, text: str, start_ms: int, index: int) -> None:
        self._by_bucket[text, start_ms // _SAME_MS].setdefault(start_ms, index)

    def first_at_same_time(self, text: str, start_ms: int) -> int | None:
        """Return the index of the first word with this text at about this start, or None."""
        buckets = (self._by_bucket.get((text, start_ms // _SAME_MS + step), {}) for step in (-1, 0, 1))
        return min(
            (index for bucket in buckets for at_ms, index in bucket.items() if abs(at_ms - start_ms) <= _SAME_MS),
            default=None,
        )


class _LatestStarts:
    """Monotonic stack of starts: each entry starts later than all words after it."""

    def __init__(self) -> None:
        self._negative_ms: list[int] = []
        self._indices: list[int] = []

    def add(self, start_ms: int, index: int) -> None:
        while self._negative_ms and -self._negative_ms[-1] <= start_ms:
            self._negative_ms.pop()
            self._indices.pop()
        self._negative_ms.append(-start_ms)
        self._indices.append(index)

    def last_after(self, start_ms: int) -> int:
        """Return the index of the last word that starts after `start_ms`, or -1."""
        count = bisect_left(self._negative_ms, -start_ms)
        return self._indices[count - 1] if count else -1


__all__ = ["echoes"]
