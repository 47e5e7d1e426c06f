"""Where the audio may hold speech and where it holds next to nothing, by its level alone.

It errs on one side: noise counts as voiced. Whoever relies on it (flow control, the flush of the tail, the place to
resume) loses only time by that, while speech taken for silence would lose words.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import numpy as np

from worker.audio.background_noise import Foreground, encode_levels
from worker.audio.frames import BYTES_PER_SAMPLE

VOICED_DBFS: Final = -65.0
"""RMS level above which a window counts. Quiet speech far from the microphone stays above about -55 dBFS."""
WINDOW_S: Final = 0.01
CLEAN_RUN_S: Final = 1.0
"""Maximum length of voiced runs in a recording whose pauses are silent. Longer ones may hold noise, whose floor costs
ten times as much to find."""
BRIDGE_S: Final = 0.05
"""Silence shorter than this does not end a run."""
_THRESHOLD: Final = (10 ** (VOICED_DBFS / 20) * 32768) ** 2
"""Of the mean square of a window, in int16 values."""


class PcmFrame(NamedTuple):
    """PCM on its way to the wire, with what is voiced in it."""

    pcm: bytes
    """Signed 16-bit little-endian mono."""
    file_start: int
    """Position of its first sample in the file, in samples at the wire rate."""
    runs: tuple[tuple[int, int], ...]
    """Voiced stretches, as (start, end) in samples from the frame's first."""
    levels: bytes = b""
    """Level of each window (`background_noise.encode_levels`)."""

    @property
    def samples(self) -> int:
        return len(self.pcm) // BYTES_PER_SAMPLE


def frames_at_once(frame_samples: int, rate: int, *, stored: bool) -> int:
    """How many frames to decode and to look at together; one where a frame is not a whole number of windows.

    Several cost a third less. What is only read, as it is `stored`, needs no more than two where frames are short, as
    these are paced, a thousand sessions at a time. Decoders of many sessions push each other out of the processor's
    cache: a seventh less is used where each goes on for two seconds once it is in there.
    """
    if frame_samples % int(rate * WINDOW_S):
        return 1
    if frame_samples >= rate:
        return 4
    return 2 if stored else 8


def frames_with_voice(
    chunks: Iterable[bytes], file_start: int, rate: int, frame_samples: int | None = None
) -> Iterator[PcmFrame]:
    """Consecutive PCM at `rate` Hz, the first sample at `file_start`, as frames with their place and their runs.

    A chunk is a whole number of frames, only the last one may be any length; without `frame_samples` it is a frame.
    """
    window = int(rate * WINDOW_S)
    for chunk in chunks:
        flags, levels = _measured(chunk, window)
        step = (frame_samples or len(chunk)) * BYTES_PER_SAMPLE
        for at in range(0, len(chunk), step):
            pcm = chunk[at : at + step]
            samples = len(pcm) // BYTES_PER_SAMPLE
            first = at // BYTES_PER_SAMPLE // window
            own = slice(first, first + -(-samples // window))
            yield PcmFrame(pcm, file_start, _runs(flags[own], window, samples), levels[own])
            file_start += samples


def voiced_runs(pcm: bytes, window: int) -> tuple[tuple[int, int], ...]:
    """Voiced stretches of 16-bit PCM as (start, end) in samples; edges are exact to `window` samples."""
    return _runs(_measured(pcm, window)[0], window, len(pcm) // BYTES_PER_SAMPLE)


def _measured(pcm: bytes, window: int) -> tuple[bytes, bytes]:
    """1 for each window that is voiced, else 0, and the levels of the windows; the last one may be shorter.

    Levels exclude frequencies below about 100 Hz, where rumble and hum are strong and speech is weak.
    """
    samples = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    whole = len(samples) // window
    full = samples[: whole * window].reshape(whole, window)
    squares = np.einsum("ij,ij->i", full, full)
    half = window // 2
    sums = np.einsum("ij->i", full[:, : 2 * half].reshape(-1, half)).reshape(whole, 2)  # a third of the cost of sum()
    slow = np.einsum("ij,ij->i", sums, sums) / np.float32(half)
    voiced, varying = squares > _THRESHOLD * window, (squares - slow) / np.float32(window)
    if len(rest := samples[whole * window :]):
        voiced = np.append(voiced, float(np.dot(rest, rest)) > _THRESHOLD * len(rest))
        varying = np.append(varying, np.var(rest))
    return voiced.tobytes(), encode_levels(varying)


def _runs(flags: bytes, window: int, samples: int) -> tuple[tuple[int, int], ...]:
    # A search in bytes: for a second of audio, a third of what np.diff and np.flatnonzero cost.
    runs = []
    start = flags.find(1)
    while start >= 0:
        end = flags.find(0, start)
        runs.append((start * window, samples if end < 0 else end * window))
        start = flags.find(1, end) if end >= 0 else -1
    return tuple(runs)


class VoiceActivityMap:
    """The voiced runs of a file as far as it was streamed, in samples; grows at its end, may be begun anew earlier."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._bridge = int(BRIDGE_S * rate)
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._foreground = Foreground(int(rate * WINDOW_S))

    def add(self, frame: PcmFrame) -> None:
        """The next frame; one that was added before (a session that resumed) changes nothing."""
        self._foreground.add(frame.file_start, frame.levels)
        for start, end in frame.runs:
            first, last = frame.file_start + start, frame.file_start + end
            if self._ends and first <= self._ends[-1] + self._bridge:
                self._ends[-1] = max(self._ends[-1], last)
            else:
                self._starts.append(first)
                self._ends.append(last)

    def forget_before(self, seconds: float) -> None:
        """Drop runs that end before; memory must not grow with the file."""
        self._foreground.forget_before(seconds * self._rate)
        keep = bisect_left(self._ends, seconds * self._rate)
        if keep > 1000:
            del self._starts[:keep], self._ends[:keep]

    def onset_s(self, after_s: float) -> float | None:
        """Where voice begins at or after `after_s`: `after_s` itself inside a run, None when there is none."""
        position = after_s * self._rate
        index = bisect_right(self._ends, position)
        if index == len(self._ends):
            return None
        return max(after_s, self._starts[index] / self._rate)

    def end_s(self, before_s: float) -> float | None:
        """Where the last run that begins before `before_s` ends; None when there is none."""
        index = bisect_left(self._starts, before_s * self._rate)
        return self._ends[index - 1] / self._rate if index else None

    def runs_s(self, from_s: float, to_s: float) -> list[tuple[float, float]]:
        """The runs between two file seconds, cut off at them."""
        first = bisect_right(self._ends, from_s * self._rate)
        last = bisect_left(self._starts, to_s * self._rate)
        pairs = zip(self._starts[first:last], self._ends[first:last], strict=True)
        return [(max(from_s, start / self._rate), min(to_s, end / self._rate)) for start, end in pairs]

    def foreground_s(self, from_s: float, to_s: float) -> list[tuple[float, float]]:
        """The parts of the runs between two file seconds that stand out from steady noise. Unlike `runs_s` this does
        not err on the side of voice: it is for judging text and times, not for skipping silence."""
        rate = self._rate
        first = bisect_right(self._ends, from_s * rate)
        last = bisect_left(self._starts, to_s * rate)
        if all(self._ends[n] - self._starts[n] <= CLEAN_RUN_S * rate for n in range(first, last)):
            return self.runs_s(from_s, to_s)
        above = [(start / rate, end / rate) for start, end in self._foreground.runs(from_s * rate, to_s * rate)]
        return _shared(self.runs_s(from_s, to_s), above)

    def on_grid(self, position: int) -> int:
        """The start of a session that resumes at `position`, aligned so that it measures the same windows."""
        return self._foreground.on_grid(position)


def _shared(some: list[tuple[float, float]], others: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The intersection of two lists of stretches, each in order."""
    shared, at = [], 0
    for start, end in some:
        while at < len(others) and others[at][1] <= start:
            at += 1
        index = at
        while index < len(others) and others[index][0] < end:
            shared.append((max(start, others[index][0]), min(end, others[index][1])))
            index += 1
    return shared
