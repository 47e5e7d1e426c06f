"""Lays out units of text in subtitle cues of at most two lines. No I/O.

Dynamic programming finds the layout with the lowest cost. A layout has a low cost if it has few cues and if its breaks
are in good positions. All cues respect the limits of the preset. Exception: a single unit that exceeds a limit becomes
a cue with only this unit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import inf
from typing import Final

from worker.transcript.subtitles import break_cost
from worker.transcript.subtitles.style import CueRules
from worker.transcript.subtitles.text_units import PAUSE_MS, Unit

MAX_LINES: Final = 2
"""Lines of a cue in all presets."""
# Costs on the scale of `break_cost`. _CUE: each cue. _UNEVEN: lines of different length. _EMPTY: unused columns.
# _FLASH: less time on the screen than the minimum. _SHORT: speech shorter than the minimum duration. _HURRY: too little
# time to read. _SILENCE: each second of silence within a cue.
_CUE: Final = 3.0
_CUE_BREAK_FACTOR: Final = 1.5
"""The cost of a break between two cues is multiplied by this factor, compared with a break between two lines."""
_UNEVEN: Final = 1.4
_EMPTY: Final = 2.0
_FLASH: Final = 12.0
_SHORT: Final = 2.0
_HURRY: Final = 6.0
_SILENCE: Final = 8.0
_BOUNDARY_MS: Final = 250
"""The end of a segment inside a cue costs as much as this duration of silence, so two segments share a cue only to
avoid a short cue."""


@dataclass(frozen=True, slots=True)
class CueUnits:
    """The units of one cue, for each of its lines."""

    lines: tuple[tuple[Unit, ...], ...]

    @property
    def start_ms(self) -> int:
        return self.lines[0][0].start_ms

    @property
    def end_ms(self) -> int:
        return max(unit.end_ms for line in self.lines for unit in line)

    @property
    def read_ms(self) -> float:
        return sum(unit.read_ms for line in self.lines for unit in line)


class CueLayout:
    """Lays out one run of units, which belong to segments close to each other.

    Running sums give the width of any cue in constant time. So the time for a run grows linearly with the length of its
    text."""

    def __init__(self, units: Sequence[Unit], rules: CueRules, *, reserved: int = 0) -> None:
        """`reserved`: number of columns for the name of the speaker in the first line of each cue."""
        self._units = units
        self._rules = rules
        self._reserved = reserved
        self._starts = [unit.start_ms for unit in units]
        # A unit ends at the start of the next one at the latest, so that a wrong end does not make its cue seem long.
        self._ends = [
            unit.end_ms if after is None or after < unit.start_ms else min(unit.end_ms, after)
            for unit, after in zip(units, [*self._starts[1:], None], strict=True)
        ]
        self._spaces = [int(unit.spaced) for unit in units]
        # Running sums: item `n` is the total of the first `n` units.
        self._width_to = [0, *accumulate(unit.columns + unit.spaced for unit in units)]
        self._cjk_to = [0, *accumulate(unit.cjk for unit in units)]
        self._read_to = [0.0, *accumulate(unit.read_ms for unit in units)]
        silences = (
            max(0, start - end - PAUSE_MS) + _BOUNDARY_MS * unit.ends_segment
            for unit, end, start in zip(units, self._ends, self._starts[1:], strict=False)
        )
        # Item `n` is the silence between the first `n` units, which have `n` - 1 gaps.
        self._silence_to = [0, 0, *accumulate(silences)]
        self._break_costs = [0.0, *(break_cost.cost(before, unit) for before, unit in pairwise(units)), 0.0]

    def cues(self) -> list[CueUnits]:
        """Return the cues of the layout with the lowest cost.

        For each number `n`, the method computes the cost of the best layout of the first `n` units, and the first unit
        of the last cue in that layout. Then it collects the cues backwards, starting with the last cue."""
        costs, froms = [0.0], [0]
        for end in range(1, len(self._units) + 1):
            cost, begin = self._best(end, costs)
            costs.append(cost)
            froms.append(begin)
        ends = [len(self._units)]
        while ends[-1]:
            ends.append(froms[ends[-1]])
        return [self._cue(begin, end) for begin, end in pairwise(reversed(ends))]

    def _best(self, end: int, costs: Sequence[float]) -> tuple[float, int]:
        """Return the cost of the best layout of the first `end` units, and the index of the first unit of its last cue.

        `costs`: the cost of the best layout for each smaller number of units."""
        lines = self._rules.max_lines
        starts, spaces, width_to, cjk_to = self._starts, self._spaces, self._width_to, self._cjk_to
        width_here, cjk_here, end_ms, longest = width_to[end], cjk_to[end], self._ends[end - 1], self._rules.max_ms
        fixed = _CUE + _CUE_BREAK_FACTOR * self._break_costs[end]
        found, found_at = inf, end - 1
        # Try last cues of increasing length, until they no longer fit.
        for begin in range(end - 1, -1, -1):
            width = width_here - width_to[begin] - spaces[begin]
            limit = self._rules.cjk_columns if cjk_here > cjk_to[begin] else self._rules.columns
            widest = lines * limit - self._reserved + lines - 1
            if begin < end - 1 and (width > widest or end_ms - starts[begin] > longest):
                break
            if costs[begin] + fixed >= found:
                continue
            cost = costs[begin] + fixed + self._cost(begin, end, width / (lines * limit))
            if cost >= found:  # skips the search for a line break, the slowest part
                continue
            line = self._line_break(begin, end, width, limit)
            if line is None and begin < end - 1:
                break
            cost += line[0] if line else 0.0
            if cost < found:
                found, found_at = cost, begin
        return found, found_at

    def _cost(self, begin: int, end: int, full: float) -> float:
        """Return the penalty of a cue compared with an ideal one, without the cost of its breaks.

        The cue has the units from `begin` to `end`. `full`: width of the cue divided by the available columns; above 1
        if the cue is too long."""
        min_ms = self._rules.min_ms
        start = self._starts[begin]
        # A cue can be shown until shortly before the next one starts. The last cue of a run has a pause after it, so it
        # can be shown for the maximum duration.
        until = self._starts[end] - self._rules.gap_ms if end < len(self._starts) else start + self._rules.max_ms
        time = max(1, min(until - start, self._rules.max_ms))
        length = max(0, self._ends[end - 1] - start)
        # The share is squared, so that two half-full cues cost less than one full cue and one almost empty cue.
        extra = _EMPTY * (1 - full) ** 2 if full < 1 else 0.0
        if time < min_ms:
            extra += _FLASH * (1 - time / min_ms)
        if length < min_ms:
            extra += _SHORT * (1 - length / min_ms)
        read = self._read_to[end] - self._read_to[begin]
        if read > time:
            extra += _HURRY * min(1.0, read / time - 1)
        return extra + _SILENCE * (self._silence_to[end] - self._silence_to[begin + 1]) / 1000

    def _line_break(self, begin: int, end: int, width: int, limit: int) -> tuple[float, int] | None:
        """Return the cost of the best line break in a cue, and the index of the first unit of the second line.

        Returns (0, begin) if one line is enough, or None if the cue does not fit in two lines. `width`: columns of the
        cue. `limit`: maximum columns of a line."""
        if width <= limit - self._reserved:
            return 0.0, begin
        if self._rules.max_lines == 1:
            return None
        width_to, spaces, costs = self._width_to, self._spaces, self._break_costs
        before, after = width_to[begin] + spaces[begin] - self._reserved, width_to[end]
        found, found_at = inf, begin
        for at in range(end - 1, begin, -1):
            first, second = width_to[at] - before, after - width_to[at] - spaces[at]
            if second > limit:
                break
            if first <= limit:
                # The sum of half the cost of the break and a cost for uneven lines. So a good break can outweigh uneven
                # lines.
                cost = _UNEVEN * abs(first - second) / limit + costs[at] / 2
                if cost < found:
                    found, found_at = cost, at
        return (found, found_at) if found < inf else None

    def _cue(self, begin: int, end: int) -> CueUnits:
        width = self._width_to[end] - self._width_to[begin] - self._spaces[begin]
        cjk = self._cjk_to[end] > self._cjk_to[begin]
        limit = self._rules.cjk_columns if cjk else self._rules.columns
        _, at = self._line_break(begin, end, width, limit) or (0.0, begin)
        lines = (tuple(self._units[begin:at]), tuple(self._units[at:end]))
        return CueUnits(tuple(line for line in lines if line))


def runs(segments: Iterator[list[Unit]], rules: CueRules, max_units: int = 2000) -> Iterator[list[Unit]]:
    """Group the units of segments that follow each other closely into runs, so that short segments can share a cue.

    The pause between two runs is at least the minimum duration of a cue plus the gap between two cues. A run with more
    than `max_units` units ends with its current segment.
    """
    run: list[Unit] = []
    for units in segments:
        if not units:
            continue
        if run and (len(run) > max_units or units[0].start_ms - run[-1].end_ms >= rules.min_ms + rules.gap_ms):
            yield run
            run = []
        run += units
    if run:
        yield run
