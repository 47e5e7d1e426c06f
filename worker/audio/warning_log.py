"""Collects warnings. Each kind is listed once, with the number of its repetitions. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

MAX_WARNINGS: Final = 20
"""Maximum number of different kinds of warnings per source; further kinds are dropped."""
_MAX_PLACES: Final = 4096
_PLACE: Final = re.compile(r" (?:from|at) (?:about )?(\d+(?:\.\d+)?) s(?: on)?\b")
_COUNTED: Final = re.compile(r" \((\d+) times(?:, first at (\d+(?:\.\d+)?) s)?\)$")
_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class _WarningKind:
    """Warnings that differ only in positions and numbers."""

    text: str
    """The text of the first warning."""
    count: int = 1
    first_s: float | None = None

    def __str__(self) -> str:
        if self.count == 1:
            return self.text
        if self.first_s is None:
            return f"{self.text} ({self.count} times)"
        return f"{_PLACE.sub('', self.text, count=1)} ({self.count} times, first at {self.first_s:.1f} s)"


class WarningLog:
    """Collects the warnings of one reader. A repeated text is ignored, because it comes from a second reading of the
    same audio."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._kinds: dict[str, _WarningKind] = {}
        self._known: set[str] = set()
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        if text in self._known:
            return
        if len(self._known) < _MAX_PLACES:
            self._known.add(text)
        key, kind = _parsed(text)
        if (before := self._kinds.get(key)) is not None:
            self._kinds[key] = replace(before, count=before.count + kind.count, first_s=_first(before, kind))
        elif len(self._kinds) < MAX_WARNINGS:
            self._kinds[key] = kind

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(map(str, self._kinds.values()))


def counted(texts: Iterable[str]) -> tuple[str, ...]:
    """Combine the warnings of each kind into one text, with the number of warnings and the position of the first
    one."""
    return WarningLog(texts).texts


def merged(*readings: Iterable[str]) -> tuple[str, ...]:
    """Combine the warnings of several readings of the same audio. A warning that several readings report is returned
    once."""
    found: dict[str, _WarningKind] = {}
    for reading in readings:
        for text in counted(reading):
            key, kind = _parsed(text)
            before = found.get(key, kind)
            more = max(before, kind, key=lambda one: one.count)
            found[key] = replace(more, first_s=_first(before, kind))
    return tuple(map(str, found.values()))


def _first(one: _WarningKind, other: _WarningKind) -> float | None:
    places = [kind.first_s for kind in (one, other) if kind.first_s is not None]
    return min(places, default=None)


def _parsed(text: str) -> tuple[str, _WarningKind]:
    """Parse a warning. Returns a key that warnings of one kind share (without positions and numbers), and the warning.
    The text may already contain a count."""
    if match := _COUNTED.search(text):
        plain = text[: match.start()]
        kind = _WarningKind(plain, int(match[1]), None if match[2] is None else float(match[2]))
    else:
        plain, place = text, _PLACE.search(text)
        kind = _WarningKind(text, 1, None if place is None else float(place[1]))
    return _NUMBER.sub("N", _PLACE.sub("", plain, count=1)), kind
