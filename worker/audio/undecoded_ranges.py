"""Collects the ranges of a source that could not be decoded. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIN_UNDECODED_S: Final = 0.1
"""Minimum length of a reported range. A shorter one, such as a damaged packet of 20 ms, is only a click, not a lost
word."""
_JOIN_S: Final = 0.1  # ranges at most this far apart are joined


@dataclass(frozen=True, slots=True)
class UndecodedRange:
    """A range of the source, in seconds, that could not be decoded. Silence replaces it."""

    start: float
    end: float
    reason: str
    is_measured: bool = True
    """Whether the length is known. If not, `end` equals `start`."""


class UndecodedLog:
    """Collects undecoded ranges in order, and joins close ones."""

    def __init__(self) -> None:
        self._ranges: list[UndecodedRange] = []

    def add(self, start_s: float, end_s: float, reason: str) -> bool:
        """Add a range. Returns True if it is a new range, and False if it was joined to the last range."""
        if self._ranges and self._ranges[-1].is_measured and start_s - self._ranges[-1].end <= _JOIN_S:
            last = self._ranges.pop()
            self._ranges.append(UndecodedRange(last.start, max(last.end, end_s), last.reason))
            return False
        self._ranges.append(UndecodedRange(start_s, end_s, reason))
        return True

    def add_unmeasured(self, at_s: float, reason: str) -> None:
        """Add undecoded audio of unknown length at second `at_s`."""
        self._ranges.append(UndecodedRange(at_s, at_s, reason, is_measured=False))

    def clear(self) -> None:
        self._ranges.clear()

    @property
    def ranges(self) -> tuple[UndecodedRange, ...]:
        """The ranges that may contain a word. These are the ranges of at least MIN_UNDECODED_S, and the ranges of
        unknown length."""
        return tuple(s for s in self._ranges if not s.is_measured or s.end - s.start >= MIN_UNDECODED_S)
