"""Places decoded audio on the timeline of its container: fills gaps and follows drift without dropping words. No I/O.

A container has a timestamp for each packet; a decoder only returns samples. Usually timestamps and samples agree. They
differ because of rounding (Matroska has milliseconds), late packets of live recorders, gaps in the recording, and drift
between the clocks of recorder and sound card. Each case needs its own correction:

- A gap is filled with silence. The following timestamps must confirm it: one late packet is not a gap.
- Drift is corrected in pauses, by adding or removing a few milliseconds of silence. Words are not changed.
- Audio whose timestamps overlap earlier audio may contain words, so it is also shortened in pauses only.
- After an implausible jump, the audio is joined without a gap and later timestamps are shifted. A jump is implausible
  if it goes back by more than a second, ahead by more than an hour, or ahead beyond the end of the audio. A jump ahead
  is also implausible if all gaps together already last longer than an hour and longer than the audio.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import numpy as np

from worker.audio.decoding.downmix import Samples

_WINDOW_S: Final = 0.12
"""Seconds of audio that are read ahead, so that the following timestamps can confirm a correction."""
_MIN_WINDOW_TIMES: Final = 3
"""Blocks are read ahead until the window has more than this many timestamps, because a single wrong timestamp must not
move the audio. A transport stream has only one timestamp for a dozen frames."""
_MAX_WINDOW_BLOCKS: Final = 64
MIN_TIMESTAMP_GAP_S: Final = 0.015
"""Minimum length of a gap. Real gaps are at least 20 ms long, and rounding may shorten them by a few milliseconds."""
MAX_TIMESTAMP_GAP_S: Final = 3600.0
"""Maximum length of a gap, unless the container's length confirms a longer one. Also the maximum of all gaps together
in a recording with less audio than that: a damaged file of two seconds must not become hours of silence."""
MAX_UNCONFIRMED_GAP_S: Final = 10.0
"""Maximum length of all gaps together if the audio would continue later than it can end."""
_MAX_OVERLAP_S: Final = 1.0
"""Timestamps that are further behind the samples than this are an implausible jump."""
_MAX_PRIMING_S: Final = 0.1
"""Encoders add up to 50 ms of silence before the first sample. If the first timestamp is before second 0 by at most
this, the samples before second 0 are dropped."""
_TOLERANCE_S: Final = 0.008  # a smaller difference of timestamps and samples is not corrected
_MAX_DRIFT_S: Final = 0.024  # up to this difference, drift is corrected only in pauses
_SHORT_S: Final = 0.02  # length of the blocks that `_split` yields
_CUT_S: Final = 0.01  # without pauses, at most this much is removed ...
_CUT_EVERY_S: Final = 0.25  # ... once in this time
_MAX_WAIT_FOR_PAUSE_S: Final = 1.0
"""Audio without a pause for this long is music or noise, which is shortened outside of pauses too."""
_QUIET: Final = 1e-3  # -60 dBFS
_QUIET_SHARE: Final = 0.1  # relative to the recent peak level
_LOST_BEFORE_S: Final = 0.5
"""A gap is damage if a packet was lost at most this many seconds of audio before. After a damaged packet, FFmpeg still
returns the frames of the packets before it."""
_LEVEL_DECAY: Final = 0.995  # factor per block by which the remembered peak level falls


@dataclass(slots=True)
class TimedBlock:
    """Samples and their start on the container's timeline in seconds, or None without a timestamp."""

    start_s: float | None
    rate: int
    samples: Samples
    lost: str = ""
    """Reason of a decoding failure, else empty. After a failure, `samples` is silence of the lost length, or empty."""

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.rate


@dataclass(frozen=True, slots=True)
class PlacedBlock:
    """Samples that continue the previous block without a gap. `lost`: see `TimedBlock`."""

    rate: int
    samples: Samples
    lost: str = ""


class StreamTimeline:
    """Turns timed blocks into one continuous signal, in which each position is a time on the container's timeline."""

    def __init__(
        self, length_s: float | None, warn: Callable[[str], None], *, latest_end_s: float | None = None
    ) -> None:
        """`length_s`: declared length in seconds, or None. `latest_end_s`: a position, in seconds, before which the
        audio certainly ends, or None. `warn` receives a warning for each kind of correction."""
        self._length_s = length_s
        self._latest_end_s = latest_end_s
        self._warn = warn
        self._now_s = 0.0  # end of the signal yielded so far
        self._filled_s = 0.0  # silence in the signal that fills gaps
        self._moved_s = 0.0  # added to all timestamps, after implausible jumps
        self._before_s = 0.0  # difference of timestamp and samples at the previous block
        self._began = False
        self._level = 0.0
        self._next_cut_s = 0.0
        self._lost = ""
        self._lost_end_s = 0.0  # end of the last lost packet

    def place(self, blocks: Iterator[TimedBlock]) -> Iterator[PlacedBlock]:
        """Yield all blocks in order, with silence in the gaps. Reads some blocks ahead."""
        window: deque[TimedBlock] = deque()
        ahead_s, times = 0.0, 0
        for block in chain.from_iterable(map(self._split, blocks)):
            window.append(block)
            ahead_s += block.duration_s
            times += block.start_s is not None
            while len(window) > 1 and (
                (ahead_s - window[0].duration_s >= _WINDOW_S and times > _MIN_WINDOW_TIMES)
                or len(window) > _MAX_WINDOW_BLOCKS
            ):
                ahead_s -= window[0].duration_s
                times -= window[0].start_s is not None
                yield from self._next(window)
        while window:
            yield from self._next(window)

    def _split(self, block: TimedBlock) -> Iterator[TimedBlock]:
        """Yield the block unchanged if its timestamps agree with the number of samples so far. Otherwise split it into
        short blocks: the difference is corrected only in quiet blocks, and a long block is rarely quiet throughout."""
        size = round(_SHORT_S * block.rate)
        if block.start_s is None or abs(self._before_s) < _TOLERANCE_S / 2 or len(block.samples) <= size:
            yield block
            return
        for at in range(0, len(block.samples), size):
            samples = block.samples[at : at + size]
            yield TimedBlock(block.start_s + at / block.rate, block.rate, samples, block.lost)

    def _next(self, window: deque[TimedBlock]) -> Iterator[PlacedBlock]:
        silence_s, samples, head = 0.0, window[0].samples, window[0]
        if head.start_s is not None:
            silence_s, samples = self._correction(window)
        yield from self._silence(silence_s, head)
        window.popleft()
        if head.lost:
            self._lost, self._lost_end_s = head.lost, self._now_s + len(samples) / head.rate
        elif self._now_s > self._lost_end_s + _LOST_BEFORE_S:
            self._lost = ""
        if len(samples) or head.lost:
            self._began = self._began or len(samples) > 0
            self._now_s += len(samples) / head.rate
            yield PlacedBlock(head.rate, samples, head.lost)

    def _silence(self, silence_s: float, head: TimedBlock) -> Iterator[PlacedBlock]:
        count = round(silence_s * head.rate)
        for done in range(0, count, head.rate):
            yield PlacedBlock(head.rate, np.zeros(min(head.rate, count - done), np.float32), self._lost)
        self._now_s += count / head.rate
        self._filled_s += count / head.rate

    def _correction(self, window: deque[TimedBlock]) -> tuple[float, Samples]:
        """Return how many seconds of silence to insert before the first block of the window, and the samples that
        replace those of that block."""
        head = window[0]
        own_s = (head.start_s or 0.0) + self._moved_s - self._now_s
        # In the usual case the timestamp agrees with the samples. This case is checked first, because examining the
        # window costs 10 µs per frame.
        if self._began and abs(own_s) < _TOLERANCE_S / 2:
            self._before_s, self._next_cut_s = own_s, self._now_s + _MAX_WAIT_FOR_PAUSE_S
            return 0.0, head.samples
        late_s = self._lateness_s(window)
        if self._is_beyond_end(late_s) or (self._is_too_long(late_s) and not self._is_within_length(late_s)):
            self._move(late_s, "ahead")
            late_s = 0.0
        if not self._began:
            return self._start(late_s, head)
        if late_s < -_MAX_OVERLAP_S:
            self._move(late_s, "back")
            late_s = 0.0
        jump_s, self._before_s = late_s - self._before_s, late_s
        if abs(late_s) < _TOLERANCE_S:
            self._next_cut_s = self._now_s + _MAX_WAIT_FOR_PAUSE_S
            return 0.0, head.samples
        quiet = self._is_quiet(head.samples)
        if late_s > 0:
            if jump_s < MIN_TIMESTAMP_GAP_S and late_s < _MAX_DRIFT_S and not quiet:
                return 0.0, head.samples
            self._warn_of_correction(jump_s >= MIN_TIMESTAMP_GAP_S)
            self._before_s = 0.0
            return late_s, head.samples
        return 0.0, self._shortened(head, -late_s, quiet)

    def _lateness_s(self, window: deque[TimedBlock]) -> float:
        """Return how many seconds the timestamps of the window are ahead of the samples. The result is negative if the
        timestamps are behind, and 0 if its blocks disagree about the direction. The smallest difference of all blocks
        is used."""
        at_s, lowest, highest = self._now_s, np.inf, -np.inf
        for block in window:
            if block.start_s is not None:
                late_s = block.start_s + self._moved_s - at_s
                lowest, highest = min(lowest, late_s), max(highest, late_s)
            at_s += block.duration_s
        return float(lowest) if lowest > 0 else float(min(highest, 0.0))

    def _is_too_long(self, gap_s: float) -> bool:
        audio_s = self._now_s - self._filled_s
        return gap_s > MAX_TIMESTAMP_GAP_S or self._filled_s + gap_s > max(MAX_TIMESTAMP_GAP_S, audio_s)

    def _is_beyond_end(self, gap_s: float) -> bool:
        latest_s = self._latest_end_s
        is_long = self._filled_s + gap_s > MAX_UNCONFIRMED_GAP_S
        return latest_s is not None and is_long and self._now_s + gap_s > latest_s

    def _is_within_length(self, late_s: float) -> bool:
        return self._length_s is not None and self._now_s + late_s <= self._length_s + 1.0

    def _start(self, late_s: float, head: TimedBlock) -> tuple[float, Samples]:
        """Return the seconds of silence and the samples, like `_correction`, for the first block with samples."""
        if late_s < -_MAX_PRIMING_S:
            self._move(late_s, "back")
            return 0.0, head.samples
        if late_s < 0:
            return 0.0, head.samples[round(-late_s * head.rate) :]
        return late_s, head.samples

    def _move(self, late_s: float, where: str) -> None:
        """Shift all later timestamps, so that the block with the lateness `late_s` continues the signal directly."""
        self._moved_s -= late_s
        self._before_s = 0.0
        if self._began or where == "ahead":
            self._warn(
                f"its timestamps jump {where} from {self._now_s:.1f} s to {self._now_s + late_s:.1f} s, "
                "which is implausible; the audio is joined there"
            )

    def _is_quiet(self, samples: Samples) -> bool:
        peak = float(np.abs(samples).max(initial=0.0))
        quiet = peak <= max(_QUIET, _QUIET_SHARE * self._level)
        self._level = max(peak, self._level * _LEVEL_DECAY)
        return quiet

    def _warn_of_correction(self, gap: bool) -> None:
        if gap:
            self._warn("has gaps in its timestamps; they are filled with silence")
        else:
            self._warn(
                "its timestamps and samples drift apart; pauses are lengthened or shortened to follow the timestamps"
            )

    def _shortened(self, head: TimedBlock, excess_s: float, quiet: bool) -> Samples:
        """Return the samples of a block, shortened by at most `excess_s`."""
        excess = round(excess_s * head.rate)
        if quiet:
            self._warn_of_correction(gap=False)
            self._next_cut_s = self._now_s + _MAX_WAIT_FOR_PAUSE_S
            return head.samples[min(excess, len(head.samples) // 2) :]
        if excess_s < _MAX_DRIFT_S or self._now_s < self._next_cut_s:
            return head.samples
        self._warn_of_correction(gap=False)
        self._next_cut_s = self._now_s + _CUT_EVERY_S
        return _spliced(head.samples, min(excess, round(_CUT_S * head.rate), len(head.samples) // 2))


def _spliced(samples: Samples, cut: int) -> Samples:
    """Remove `cut` samples (at most half), with a crossfade that avoids clicks."""
    fade = np.linspace(0.0, 1.0, cut, endpoint=False, dtype=np.float32)
    joined = samples[:cut] * (1 - fade) + samples[cut : 2 * cut] * fade
    return np.concatenate([joined, samples[2 * cut :]])
