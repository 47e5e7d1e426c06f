"""Stretches of a source that could not be decoded (pure)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIN_UNDECODED_S: Final = 0.1
"""Shorter than any word: a damaged packet of 20 ms costs no more than a click."""
_JOIN_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class UndecodedRange:
    """Seconds `start` to `end` of the source, which are replaced by silence."""

    start: float
    end: float
    reason: str
    is_measured: bool = True
    """False if the length is unknown; then `end` is `start`."""


class UndecodedLog:
    """Collects such stretches in order; close ones are joined."""

    def __init__(self) -> None:
        self._stretches: list[UndecodedRange] = []

    def add(self, start_s: float, end_s: float, reason: str) -> bool:
        """Add a stretch. Returns True if it is a new one, False if it was joined to the last one."""
        if self._stretches and self._stretches[-1].is_measured and start_s - self._stretches[-1].end <= _JOIN_S:
            last = self._stretches.pop()
            self._stretches.append(UndecodedRange(last.start, max(last.end, end_s), last.reason))
            return False
        self._stretches.append(UndecodedRange(start_s, end_s, reason))
        return True

    def add_unmeasured(self, at_s: float, reason: str) -> None:
        """Add missing audio of unknown length."""
        self._stretches.append(UndecodedRange(at_s, at_s, reason, is_measured=False))

    def clear(self) -> None:
        self._stretches.clear()

    @property
    def stretches(self) -> tuple[UndecodedRange, ...]:
        """The stretches long enough for a word, and those of unknown length."""
        return tuple(s for s in self._stretches if not s.is_measured or s.end - s.start >= MIN_UNDECODED_S)
