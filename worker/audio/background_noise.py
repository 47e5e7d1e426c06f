"""Finds sound above steady background noise: hiss, hum, a fan, line noise.

When a speaker pauses and only noise remains, the level is nearly constant. A steady stretch is a range of 0.3 s with a
nearly constant level. The noise floor and its spread are measured in the quietest steady stretches within some seconds.
Sound clearly above the floor is foreground. Music, speech without a pause and a babble of voices have no steady
stretch. Then the noise floor is unknown, and all sound is treated as foreground. Callers drop text and move times only
where the audio is known to be noise, so they change nothing if the floor is unknown.
"""

from __future__ import annotations

from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from worker.audio.level_bytes import UNKNOWN_LEVEL, Levels, decode_levels
from worker.audio.level_smoothing import smooth_edges, smoothed
from worker.audio.noise_threshold import ALL_FOREGROUND, SAME_DB, Threshold

BLOCK_WINDOWS: Final = 200
"""Number of windows (of 10 ms) that share a threshold. With 100, a query for a commit took 320 µs instead of
250 at full speed, and 640 instead of 455 in real time. The words of 5,760 random commits, most of them with wrong
times, got the same times."""
STRETCH_WINDOWS: Final = 30
"""Length of a steady stretch in windows (0.3 s): longer than plosives and most other speech sounds."""
HOP_WINDOWS: Final = 5
"""The stretches that are examined start every this many windows, so they overlap."""
REACH_BLOCKS: Final = 4
"""Number of blocks before and after a block in which its noise floor is searched."""
STEADY_DB: Final = 6.0
"""Maximum difference between the highest and the lowest level of a steady stretch."""
MIN_STRETCHES: Final = 4
"""Minimum number of steady stretches for a noise floor. Stretches overlap, so four of them span only 0.45 s. A steady
sound that is shorter may be a breath or a long vowel."""
ONSET_DB: Final = 3.0
"""A range of foreground (a run) needs a level this far above the floor at least once, and lasts while the level is
`EDGE_DB` above the floor."""
EDGE_DB: Final = 2.0
MIN_CONTRAST_DB: Final = 15.0
"""Minimum difference between the floor and the level of loud sound, see `_loud_db`. With less, the noise is so strong
that weak words would count as noise."""
MAX_BURST_SHARE: Final = 0.05
"""Maximum share of the time without loud sound in which noise may exceed the threshold. With more, the floor is
unknown."""
BRIDGE_WINDOWS: Final = 5
"""Maximum number of windows below the threshold that do not end a run."""
CONTEXT_WINDOWS: Final = 200
"""Number of windows before and after a queried range that are examined too, because a run may extend beyond the
range."""


STRETCH_BYTES: Final = 8
"""Bytes of one steady stretch: its mean level and the difference between its highest level and the mean, in dB, each as
float32. A block stores its stretches as `bytes`: two arrays took three times the memory, and joining the arrays of all
blocks took longer than joining bytes."""
NO_STRETCHES: Final = b""
MAX_STRETCH_BLOCKS: Final = 4 * REACH_BLOCKS
"""Above this number of blocks, stretches that later queries do not need are dropped."""


class _Surroundings(NamedTuple):
    """The levels and steady stretches that decide the thresholds of consecutive blocks.

    Neighbouring blocks share most of their surroundings, so these are decoded and joined once for all blocks of a
    query. With blocks of a second, a query of 5 s took 490 µs instead of 580."""

    first: int
    """Number of the first block."""
    level: Levels
    smooth: Levels
    means: npt.NDArray[np.float64]
    rises: npt.NDArray[np.float64]
    offsets: tuple[int, ...]
    """Index of the first stretch of each block, and the number of stretches."""
    known: bool
    """Whether all levels are known."""

    def stretches(self, number: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the means and rises of the stretches around the block `number`."""
        at = number - self.first
        last = min(at + REACH_BLOCKS + 1, len(self.offsets) - 1)
        own = slice(self.offsets[max(0, at - REACH_BLOCKS)], self.offsets[last])
        return self.means[own], self.rises[own]

    def levels(self, number: int) -> tuple[Levels, Levels]:
        """Return the known levels around the block `number`, and the result of `smoothed` for them."""
        at = number - self.first
        own = slice(max(0, at - REACH_BLOCKS) * BLOCK_WINDOWS, (at + REACH_BLOCKS + 1) * BLOCK_WINDOWS)
        level = self.level[own]
        if not self.known:
            level = level[level < 0]
            return level, smoothed(level)
        smooth = self.smooth[own].copy()
        smooth_edges(level, smooth)
        return level, smooth


class Foreground:
    """Stores the levels of the recently streamed part of a file, and finds the runs above its noise floor.

    Positions are in samples of the file. All windows start at multiples of `window`, so a session that streams audio
    again measures the same windows. `window`: samples per window.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._origin: int | None = None  # position of the first window
        self._levels = bytearray()
        self._steady: dict[int, bytes] = {}
        """The steady stretches that begin in each block (by number) that is complete, see `STRETCH_BYTES`."""
        self._unfinished: dict[int, bytes] = {}
        """The same for blocks that are not complete. The thresholds of one query share them."""
        self._thresholds: dict[int, Threshold] = {}
        """The threshold of each block (by number) after which `REACH_BLOCKS` blocks are complete."""
        self._provisional: dict[int, Threshold] = {}
        """The thresholds of other blocks, until further levels are added. At full speed, all audio of a short file is
        sent before the first commit arrives. With 10 s of audio, the later queries took 80 µs instead of 240."""

    def on_grid(self, position: int) -> int:
        """Return the start of the window that contains `position`. A session that begins there measures the same
        windows as earlier sessions."""
        return position if self._origin is None else position - (position - self._origin) % self._window

    def add(self, start: int, levels: bytes) -> None:
        """Add the levels of the windows from position `start` on. Stored levels of later positions are dropped, because
        a resumed session sends that audio again."""
        if not levels:
            return
        self._forget_provisional()
        if self._origin is None:
            self._origin = start
        at = round((start - self._origin) / self._window)
        if at < 0:  # rare: a session began before all earlier ones, and streams everything after it again
            self._origin, self._levels, at = start, bytearray(), 0
            self._forget_blocks(0)
        if at < len(self._levels):
            del self._levels[at:]
            self._forget_blocks((at - STRETCH_WINDOWS) // BLOCK_WINDOWS)
        elif at > len(self._levels):
            self._levels += bytes([UNKNOWN_LEVEL]) * (at - len(self._levels))
        self._levels += levels

    def forget_before(self, position: float) -> None:
        """Drop levels that queries about later positions do not need."""
        if self._origin is None:
            return
        blocks = int((position - self._origin) // self._window // BLOCK_WINDOWS) - REACH_BLOCKS - 1
        if blocks >= 30:  # seldom, because all later blocks get new numbers
            del self._levels[: blocks * BLOCK_WINDOWS]
            self._origin += blocks * BLOCK_WINDOWS * self._window
            self._steady = {n - blocks: s for n, s in self._steady.items() if n >= blocks}
            self._forget_provisional()
            self._thresholds = {n - blocks: t for n, t in self._thresholds.items() if n >= blocks}

    def runs(self, start: float, end: float) -> list[tuple[float, float]] | None:
        """Return the ranges (start, end) between the positions `start` and `end` that may be foreground, or None if the
        noise floor is unknown."""
        if self._origin is None or end <= start:
            return [(start, end)]
        first = max(0, int((start - self._origin) // self._window) - CONTEXT_WINDOWS)
        last = min(len(self._levels), int((end - self._origin) // self._window) + 1 + CONTEXT_WINDOWS)
        if first >= last:
            return [(start, end)]
        numbers = range(first // BLOCK_WINDOWS, (last - 1) // BLOCK_WINDOWS + 1)
        own = self._thresholds_of(numbers)
        if not all(threshold.known for threshold in own):  # the runs of the other blocks would end at edges of blocks
            return None
        self._forget_stretches(numbers[0] - REACH_BLOCKS)
        begins, ends = ((found + first) * self._window + self._origin for found in self._runs(first, last, own))
        inside = slice(int(np.searchsorted(ends, start, "right")), int(np.searchsorted(begins, end, "left")))
        runs = list(
            zip(
                np.maximum(begins[inside], start, dtype=np.float64).tolist(),
                np.minimum(ends[inside], end, dtype=np.float64).tolist(),
                strict=True,
            )
        )
        # Audio before and after the stored levels is treated as foreground, because its level is unknown.
        known_from, known_to = first * self._window + self._origin, last * self._window + self._origin
        if start < known_from:
            runs.insert(0, (start, min(end, known_from)))
        if end > known_to:
            runs.append((max(start, known_to), end))
        return runs

    # -- thresholds ------------------------------------------------------------------------------------------------

    def _thresholds_of(self, numbers: range) -> list[Threshold]:
        """Return the thresholds of consecutive blocks."""
        # The noise of a pause is compared with that of the blocks before it, also if those are not asked for.
        first, last = max(0, numbers[0] - 2 * REACH_BLOCKS), numbers[-1]
        found: list[Threshold] = []
        around: _Surroundings | None = None
        for number in range(first, last + 1):
            threshold = self._thresholds.get(number) or self._provisional.get(number)
            neighbour = found[-1] if found else ALL_FOREGROUND
            if threshold is None or threshold.inherits(neighbour):
                around = around or self._surroundings(number, last)
                threshold = self._new_threshold(number, around, neighbour)
                self._store(number, threshold)
            found.append(threshold)
        # Blocks before the first loud sound are compared with the blocks after them.
        for number in range(last - 1, first - 1, -1):
            neighbour = found[number + 1 - first]
            if found[number - first].inherits(neighbour):
                threshold = self._new_threshold(number, self._surroundings(number, number), neighbour)
                self._store(number, threshold)
                found[number - first] = threshold
        return found[numbers[0] - first :]

    def _store(self, number: int, threshold: Threshold) -> None:
        (self._thresholds if self._is_whole(number + REACH_BLOCKS) else self._provisional)[number] = threshold

    def _runs(self, first: int, last: int, own: list[Threshold]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Return the begins and ends of the foreground runs in the windows from `first` to `last`, counted from
        `first`, with short gaps bridged. `own`: the threshold of each block of the range."""
        level = self._db(first, last)
        numbers = np.arange(first, last) // BLOCK_WINDOWS
        numbers -= numbers[0]
        onset, edge = np.array([(one.onset_db, one.edge_db) for one in own], np.float64).T
        loud = smoothed(level) >= onset[numbers]
        changes = _edges(level >= edge[numbers])
        begins, ends = changes[::2], changes[1::2]
        # The running count of loud windows shows whether a run has one. `any` for each run is slow: 680 µs for 385
        # runs, against 19 µs.
        count = np.zeros(len(loud) + 1, np.intp)
        np.cumsum(loud, out=count[1:])
        reached = count[ends] > count[begins]
        begins, ends = begins[reached], ends[reached]
        apart = begins[1:] - ends[:-1] > BRIDGE_WINDOWS
        return (
            np.concatenate((begins[:1], begins[1:][apart])),
            np.concatenate((ends[:-1][apart], ends[-1:])),
        )

    def _surroundings(self, first: int, last: int) -> _Surroundings:
        """Return the levels and stretches that decide the thresholds of the blocks `first` to `last`."""
        begin = max(0, first - REACH_BLOCKS)
        end = min(last + REACH_BLOCKS, (len(self._levels) - 1) // BLOCK_WINDOWS) + 1
        self._measure_blocks(begin, end)
        stretches = [self._stretches(number) for number in range(begin, end)]
        means, rises = np.frombuffer(b"".join(stretches), np.float32).reshape(-1, 2).T.astype(np.float64)
        level = self._db(begin * BLOCK_WINDOWS, min(len(self._levels), end * BLOCK_WINDOWS))
        return _Surroundings(
            begin,
            level,
            smoothed(level),
            means,
            rises,
            tuple(accumulate((len(one) // STRETCH_BYTES for one in stretches), initial=0)),
            known=bool((level < 0).all()),
        )

    def _new_threshold(self, number: int, around: _Surroundings, neighbour: Threshold) -> Threshold:
        """Return the threshold of a block. `neighbour`: that of the previous or the next block."""
        # Up to 360 stretches are compared for each two seconds of audio, so this uses arrays and not lists. For
        # the same reason it does not use `np.median`, which alone would take as long as the rest.
        means, rises = around.stretches(number)
        if len(means) < MIN_STRETCHES:
            return ALL_FOREGROUND
        noise = means <= np.minimum.reduce(means) + SAME_DB
        quiet = means[noise]
        if len(quiet) < MIN_STRETCHES:
            return ALL_FOREGROUND
        floor, rise = _median(quiet), _median(rises[noise])
        level, smooth = around.levels(number)
        loud_db = _loud_db(level)
        # In a long pause there is no loud sound, but the noise is the same as before or after the pause.
        if loud_db - floor < MIN_CONTRAST_DB:
            if not neighbour.known or abs(floor - neighbour.floor_db) > SAME_DB:
                return ALL_FOREGROUND._replace(floor_db=floor)
            loud_db = neighbour.loud_db
        found = Threshold(floor + max(ONSET_DB, rise * 1.5), floor + max(EDGE_DB, rise), floor, loud_db)
        return found if _is_steady(level, smooth, found) else ALL_FOREGROUND

    def _stretches(self, number: int) -> bytes:
        """Return the steady stretches that begin in a block."""
        known = self._steady.get(number)
        known = self._unfinished.get(number) if known is None else known
        if known is None:
            known = self._new_stretches(number)
            (self._steady if self._is_whole(number) else self._unfinished)[number] = known
        return known

    def _new_stretches(self, number: int) -> bytes:
        level = self._db(
            number * BLOCK_WINDOWS, min(len(self._levels), (number + 1) * BLOCK_WINDOWS + STRETCH_WINDOWS - HOP_WINDOWS)
        )
        return _steady_stretches(level[None])[0] if len(level) >= STRETCH_WINDOWS else NO_STRETCHES

    def _measure_blocks(self, first: int, last: int) -> None:
        """Measure the complete blocks from `first` to `last` that are not measured yet. A commit of 5 s has two or
        three new blocks, and each call of numpy costs as much for one as for three."""
        new = [n for n in range(first, last) if n not in self._steady and self._is_whole(n)]
        if not new:
            return
        begin, count, width = new[0], new[-1] + 1 - new[0], BLOCK_WINDOWS + STRETCH_WINDOWS - HOP_WINDOWS
        level = self._db(begin * BLOCK_WINDOWS, (begin + count - 1) * BLOCK_WINDOWS + width)
        size = level.itemsize
        rows = np.ndarray((count, width), np.float32, level, strides=(BLOCK_WINDOWS * size, size))
        self._steady.update(enumerate(_steady_stretches(rows), begin))

    def _forget_stretches(self, number: int) -> None:
        """Drop the stretches of blocks before `number`. Queries move ahead; one that goes back computes them again."""
        if len(self._steady) > MAX_STRETCH_BLOCKS:
            self._steady = {n: s for n, s in self._steady.items() if n >= number}

    def _is_whole(self, number: int) -> bool:
        return len(self._levels) >= (number + 1) * BLOCK_WINDOWS + STRETCH_WINDOWS

    def _db(self, first: int, last: int) -> Levels:
        """Decode the levels in dBFS of the windows from `first` to `last`."""
        return decode_levels(self._levels[first:last])

    def _forget_provisional(self) -> None:
        self._unfinished.clear()
        self._provisional.clear()

    def _forget_blocks(self, number: int) -> None:
        for known, reach in ((self._steady, 0), (self._thresholds, REACH_BLOCKS)):
            for key in [key for key in known if key >= number - reach]:
                del known[key]


def _loud_db(level: Levels) -> float:
    """Return the level that the loudest 5 % of the windows exceed."""
    loud = len(level) * 95 // 100
    return float(np.partition(level, loud)[loud]) if len(level) else -1000.0


def _is_steady(level: Levels, smooth: Levels, threshold: Threshold) -> bool:
    """Check that loud sound is far above the noise floor of a block, and that noise is rarely above the threshold.

    If this is not so, bursts of noise would be mistaken for words, and weak words for noise. In this check, a run is
    noise if its peak is nearer to the floor than to the loud sound. `smooth`: the result of `smoothed` for `level`."""
    contrast_db = threshold.loud_db - threshold.floor_db
    if contrast_db < MIN_CONTRAST_DB:
        return False
    strong = threshold.floor_db + contrast_db / 2
    above = level >= threshold.edge_db
    changes = _edges(above)
    begins = changes[::2]
    if not len(begins):
        return True
    lengths = changes[1::2] - begins
    peaks = np.maximum.reduceat(smooth, begins)
    weak = int(lengths[(peaks >= threshold.onset_db) & (peaks < strong)].sum())
    rest = len(level) - int(np.count_nonzero(above)) + weak
    return weak <= MAX_BURST_SHARE * rest


def _steady_stretches(levels: Levels) -> list[bytes]:
    """Return the steady stretches of each row of levels[blocks, windows], see `STRETCH_BYTES`."""
    smooth = np.empty(levels.shape, np.float32)
    smooth[:, 1:-1] = (levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]) / 3
    smooth[:, 0], smooth[:, -1] = (2 * levels[:, 0] + levels[:, 1]) / 3, (2 * levels[:, -1] + levels[:, -2]) / 3
    # `sliding_window_view` takes 18 µs for the same view, this call 1.5.
    (blocks, windows), size = levels.shape, smooth.itemsize
    shape = (blocks, (windows - STRETCH_WINDOWS) // HOP_WINDOWS + 1, STRETCH_WINDOWS)
    strides = (windows * size, HOP_WINDOWS * size, size)
    views = np.ndarray(shape, np.float32, smooth, strides=strides)
    means = np.add.reduce(views, axis=2) / np.float32(STRETCH_WINDOWS)
    tops, lows = np.maximum.reduce(views, axis=2), np.minimum.reduce(views, axis=2)
    steady = (tops - lows <= STEADY_DB) & (tops < 0)
    found = np.empty((*means.shape, 2), np.float32)
    found[..., 0], found[..., 1] = means, tops - means
    return [own[is_steady].tobytes() for own, is_steady in zip(found, steady, strict=True)]


def _edges(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the starts and ends of the runs of True, alternately. `np.diff` of joined arrays takes twice the time."""
    padded = np.zeros(len(flags) + 2, np.bool_)
    padded[1:-1] = flags
    edges: npt.NDArray[np.intp] = (padded[1:] != padded[:-1]).nonzero()[0]
    return edges


def _median(values: npt.NDArray[np.float64]) -> float:
    """Return the median. Sorts `values` in place. Takes a fifth of the time of `np.median`."""
    values.sort()
    middle = len(values) // 2
    return float(values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2)
