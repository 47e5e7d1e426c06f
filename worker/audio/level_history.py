"""Stores the loudness of a file for the drawing of its waveform. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Final

from worker.audio.level_bytes import MIN_DBFS, STEPS_PER_DB, UNKNOWN_LEVEL

MAX_LEVELS: Final = 1200
"""Maximum number of levels in a drawing, about one for each pixel of its width."""
MIN_DRAWN_DBFS: Final = -90.0
"""Level that the drawing's value 1 stands for; 255 stands for 0 dBFS."""
WINDOWS: Final = 10
"""Windows of `PcmFrame.levels` (10 ms each) in one step."""
STEP_S: Final = WINDOWS * 0.01


def _drawn(level: int) -> int:
    """Convert an encoded level to a value of the drawing, 1 to 255."""
    dbfs = 0.0 if level == UNKNOWN_LEVEL else level / STEPS_PER_DB + MIN_DBFS
    return max(1, min(255, round(1 + (dbfs - MIN_DRAWN_DBFS) / -MIN_DRAWN_DBFS * 254)))


_DRAWN: Final = bytes(_drawn(level) for level in range(256))
"""Value of the drawing by encoded level."""


class LevelHistory:
    """Stores the highest level of each step of 0.1 s: 36 kB for an hour. 0 stands for a step that was not added."""

    def __init__(self, rate: int) -> None:
        self._step = round(STEP_S * rate)
        self.first = 0
        """Number of the first step, counted from the start of the file."""
        self.levels = bytearray()

    def add(self, file_start: int, levels: bytes) -> None:
        """Add a frame. `file_start`: its position in samples of the file. `levels`: encoded levels of its windows.

        Frames may come in any order. A frame that is added again changes nothing, because it has the same levels."""
        at = file_start // self._step
        if not self.levels:
            self.first = at
        if at < self.first:
            self.levels[:0] = bytes(self.first - at)
            self.first = at
        known, place = self.levels, at - self.first
        count = -(-len(levels) // WINDOWS)
        if place + count > len(known):
            known += bytes(place + count - len(known))
        # `_DRAWN` rises with the level, so the highest level is drawn highest.
        for begin in range(0, len(levels), WINDOWS):
            drawn = _DRAWN[max(levels[begin : begin + WINDOWS])]
            known[place] = max(known[place], drawn)
            place += 1


def drawing(histories: Iterable[LevelHistory], duration_s: float) -> tuple[float, str] | None:
    """Return the seconds of one level and the levels (base64, one byte each) of a whole file, or None without audio.

    `histories`: those of its sections. Where several overlap, such as those of two channels, the loudest counts."""
    parts = [history for history in histories if history.levels]
    steps = round(duration_s / STEP_S)
    if not parts or steps < 1:
        return None
    width = -(-steps // MAX_LEVELS)
    found = bytearray(-(-steps // width))
    for history in parts:
        for begin in range(history.first - history.first % width, history.first + len(history.levels), width):
            place = begin // width
            inside = history.levels[max(0, begin - history.first) : begin - history.first + width]
            if place < len(found) and inside:
                found[place] = max(found[place], *inside)
    return round(width * STEP_S, 3), base64.b64encode(found).decode()
