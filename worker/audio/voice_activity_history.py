"""Stores the share of voice activity in each quarter of a second of a file. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from worker.audio.level_history import LevelHistory
from worker.audio.voice_activity import PcmFrame

GROUP_FRAMES: Final = 8
"""Number of frames that are added together."""


class _Measured(NamedTuple):
    """A frame without its samples, which the history does not need."""

    file_start: int
    samples: int
    runs: tuple[tuple[int, int], ...]
    levels: bytes


class VoiceActivityHistory:
    """Stores the share of voice activity in each step (a quarter of a second): one byte per step, 14 kB for an hour.

    Audio that was not added is treated as voice activity.
    """

    STEP_S: Final = 0.25
    _FULL: Final = 250
    _UNKNOWN: Final = 255

    def __init__(self, rate: int) -> None:
        self._step = round(self.STEP_S * rate)
        self._rate = rate
        self._known_from = 0
        self._shares = bytearray()
        self._levels = LevelHistory(rate)
        self._pending: list[_Measured] = []

    def add(self, frame: PcmFrame) -> None:
        """Add a frame; frames may come in any order."""
        # Frames are added in groups, because frames of a live session arrive so rarely that this code has left the
        # processor's cache. Measured with a cold cache: 38 µs per frame alone, 18 µs in groups of eight.
        self._pending.append(_Measured(frame.file_start, frame.samples, frame.runs, frame.levels))
        if len(self._pending) >= GROUP_FRAMES:
            self._add_pending()

    @property
    def levels(self) -> LevelHistory:
        self._add_pending()
        return self._levels

    def _add_pending(self) -> None:
        pending, self._pending = self._pending, []
        for frame in pending:
            self._add(frame)

    def _add(self, frame: _Measured) -> None:
        self._levels.add(frame.file_start, frame.levels)
        first = frame.file_start // self._step
        # In an ordinary session, each frame fills exactly the next step. This shortcut takes 7 µs instead of 16.
        is_next = self._shares and first == self._known_from + len(self._shares)
        if is_next and frame.file_start == first * self._step and frame.samples == self._step:
            voiced = sum([end - start for start, end in frame.runs])
            self._shares.append(min(self._FULL, round(voiced / self._step * self._FULL)))
            return
        last = (frame.file_start + frame.samples - 1) // self._step
        if not self._shares:
            self._known_from = first
        if first < self._known_from:
            self._shares[:0] = bytes([self._UNKNOWN]) * (self._known_from - first)
            self._known_from = first
        missing = last + 1 - self._known_from - len(self._shares)
        if missing > 0:
            self._shares += bytes([self._UNKNOWN]) * missing
        for step in range(first, last + 1):
            self._fill(frame, step)

    def _fill(self, frame: _Measured, step: int) -> None:
        start, end = step * self._step - frame.file_start, (step + 1) * self._step - frame.file_start
        voiced = sum(max(0, min(last, end) - max(first, start)) for first, last in frame.runs)
        at = step - self._known_from
        # Two frames that share a step are added up. A step that begins inside this frame starts from zero, because a
        # resumed session may send the same audio again.
        before = self._shares[at] if start < 0 and self._shares[at] != self._UNKNOWN else 0
        self._shares[at] = min(self._FULL, before + round(voiced / self._step * self._FULL))

    def between(self, start_s: float, end_s: float) -> float:
        """Return the seconds of voice activity from `start_s` to `end_s`, assuming that activity is spread evenly
        within each step."""
        return sum(self.shares(start_s, end_s))

    def shares(self, start_s: float, end_s: float) -> Iterator[float]:
        """Yield the seconds of voice activity of each step from `start_s` to `end_s`, in order."""
        self._add_pending()
        at_s = start_s
        while at_s < end_s - 1e-9:
            step = int(at_s / self.STEP_S + 1e-9)
            until_s = min(end_s, (step + 1) * self.STEP_S)
            at = step - self._known_from
            share = self._shares[at] if 0 <= at < len(self._shares) else self._UNKNOWN
            yield (until_s - at_s) * min(1.0, share / self._FULL)
            at_s = until_s
