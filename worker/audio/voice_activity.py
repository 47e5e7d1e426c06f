"""Detects voice activity by the level of the audio.

Noise is also reported as voice activity. The users of this module (flow control, tail flush, resume position) only lose
time if noise is mistaken for speech, but they would lose words if speech was mistaken for silence.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from math import inf
from typing import Final, NamedTuple

import numpy as np

from worker.audio.background_noise import Foreground
from worker.audio.level_bytes import encode_levels
from worker.audio.pcm_frames import BYTES_PER_SAMPLE

VOICED_DBFS: Final = -65.0
"""A window has voice activity if its RMS level is above this. Even quiet speech far from the microphone is above about
-55 dBFS."""
WINDOW_S: Final = 0.01
CLEAN_RUN_S: Final = 1.0
"""Maximum length of runs with voice activity in a recording whose pauses are silent. Longer runs may contain noise.
Only for these the noise floor is searched, which takes ten times as long."""
BRIDGE_S: Final = 0.05
"""Silence shorter than this does not end a run."""
_THRESHOLD: Final = (10 ** (VOICED_DBFS / 20) * 32768) ** 2
"""`VOICED_DBFS` as a mean square of int16 samples."""


class PcmFrame(NamedTuple):
    """A frame of PCM to send to the service, with its position in the file and its voice activity."""

    pcm: bytes
    """Signed 16-bit little-endian mono."""
    file_start: int
    """Position of the first sample in the file, in samples at the wire rate."""
    runs: tuple[tuple[int, int], ...]
    """Ranges with voice activity (runs), as (start, end) in samples from the start of the frame."""
    levels: bytes = b""
    """Level of each window (`level_bytes.encode_levels`)."""

    @property
    def samples(self) -> int:
        return len(self.pcm) // BYTES_PER_SAMPLE


def frames_at_once(frame_samples: int, rate: int, *, stored: bool) -> int:
    """Return the number of frames to decode and measure at a time. The result is 1 if a frame is not a whole number of
    windows.

    Several frames at a time take less CPU time per frame than single frames: the levels of a frame take 46 µs alone, 24
    in pairs, 14 in fours and 9 in eights. Frames shorter than a second belong to paced sessions, of which a process may
    run a thousand. If their audio is `stored` at the wire rate, it is only read; three frames limit the memory, since
    four take 4 KB more for each session. Otherwise it is decoded, and the decoders of many sessions evict each other
    from the processor's cache. So eight frames are decoded at a time. Decoded frames of a second come in pairs: buffers
    for four seconds of stereo do not fit into the processor's cache (5.0 s of CPU time for an hour of FLAC, and 4.9
    with half of them). Stored ones come in fours.
    """
    if frame_samples % int(rate * WINDOW_S):
        return 1
    if frame_samples >= rate:
        return 4 if stored else 2
    return 3 if stored else 8


def frames_with_voice(
    chunks: Iterable[bytes], file_start: int, rate: int, frame_samples: int | None = None
) -> Iterator[PcmFrame]:
    """Cut consecutive PCM into frames with their position and voice activity.

    `file_start`: position of the first sample, in samples at `rate` Hz. Each chunk must contain a whole number of
    frames of `frame_samples` samples; the last chunk may have any length. Without `frame_samples`, each chunk becomes
    one frame.
    """
    window = int(rate * WINDOW_S)
    for chunk in chunks:
        flags, levels = _measured(chunk, window)
        step = (frame_samples or len(chunk)) * BYTES_PER_SAMPLE
        frames = []
        for at in range(0, len(chunk), step):
            pcm = chunk[at : at + step]
            samples = len(pcm) // BYTES_PER_SAMPLE
            first = at // BYTES_PER_SAMPLE // window
            own = slice(first, first + -(-samples // window))
            frames.append(PcmFrame(pcm, file_start, _runs(flags[own], window, samples), levels[own]))
            file_start += samples
        # A paced session waits between two frames. Meanwhile only the frames that were not sent stay in memory, and not
        # the whole chunk. On a busy machine, the resident memory of 60 sessions did not show the difference.
        del chunk, pcm
        frames.reverse()
        while frames:
            yield frames.pop()


def voiced_runs(pcm: bytes, window: int) -> tuple[tuple[int, int], ...]:
    """Return the ranges of 16-bit PCM with voice activity, as (start, end) in samples. Each value is a multiple of
    `window`, or the end of the audio."""
    return _runs(_measured(pcm, window)[0], window, len(pcm) // BYTES_PER_SAMPLE)


def _measured(pcm: bytes, window: int) -> tuple[bytes, bytes]:
    """Return two values for each window: 1 if it has voice activity, otherwise 0; and its encoded level. The last
    window may be shorter.

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
    # For a second of audio, searching bytes takes a third of the time of np.diff and np.flatnonzero.
    runs = []
    start = flags.find(1)
    while start >= 0:
        end = flags.find(0, start)
        runs.append((start * window, samples if end < 0 else end * window))
        start = flags.find(1, end) if end >= 0 else -1
    return tuple(runs)


class ForegroundRuns(NamedTuple):
    """Runs louder than steady noise, as positions in the file, in seconds."""

    runs: list[tuple[float, float]]
    noisy: bool
    """Whether sound was left out as noise."""
    certain: bool
    """Whether the noise floor is known, or no run is long. Otherwise `runs` may contain noise."""


class VoiceActivityMap:
    """Stores the ranges with voice activity (runs) of the streamed part of a file. A resumed session may add frames
    again that an earlier session has added."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._bridge = int(BRIDGE_S * rate)
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._foreground = Foreground(int(rate * WINDOW_S))

    def add(self, frame: PcmFrame) -> None:
        """Add the next frame. The runs of a frame that an earlier session has added do not change."""
        self._foreground.add(frame.file_start, frame.levels)
        for start, end in frame.runs:
            first, last = frame.file_start + start, frame.file_start + end
            if self._ends and first <= self._ends[-1] + self._bridge:
                self._ends[-1] = max(self._ends[-1], last)
            else:
                self._starts.append(first)
                self._ends.append(last)

    def forget_before(self, seconds: float) -> None:
        """Drop runs that end before the position `seconds` of the file, so that memory does not grow with the length of
        the file."""
        self._foreground.forget_before(seconds * self._rate)
        count = bisect_left(self._ends, seconds * self._rate)
        if count > 1000:  # seldom, because deleting at the start moves all later runs
            del self._starts[:count], self._ends[:count]

    def onset_s(self, after_s: float) -> float | None:
        """Return the start of the next voice activity after `after_s`, as a position in the file, in seconds. Returns
        `after_s` itself if it is inside a run, and None if no run ends after `after_s`."""
        position = after_s * self._rate
        index = bisect_right(self._ends, position)
        if index == len(self._ends):
            return None
        return max(after_s, self._starts[index] / self._rate)

    def end_s(self, before_s: float) -> float | None:
        """Return the end (s) of the last run that begins before `before_s`, or None if there is no such run."""
        index = bisect_left(self._starts, before_s * self._rate)
        return self._ends[index - 1] / self._rate if index else None

    def runs_s(self, from_s: float, to_s: float) -> list[tuple[float, float]]:
        """Return the runs between two positions in the file (seconds), clipped to this range."""
        rate = self._rate
        first = bisect_right(self._ends, from_s * rate)
        last = bisect_left(self._starts, to_s * rate)
        pairs = zip(self._starts[first:last], self._ends[first:last], strict=True)
        return _clipped([(start / rate, end / rate) for start, end in pairs], from_s, to_s)

    def foreground_s(self, from_s: float, to_s: float) -> ForegroundRuns:
        """Return the parts of the runs between two positions in the file (seconds) that are louder than steady noise.

        The result of `runs_s` may contain steady noise. This result does not, if it is `certain`. Use it to judge text
        and times, not to skip silence."""
        rate = self._rate
        first = bisect_right(self._ends, from_s * rate)
        last = bisect_left(self._starts, to_s * rate)
        if all(self._ends[n] - self._starts[n] <= CLEAN_RUN_S * rate for n in range(first, last)):
            return ForegroundRuns(self.runs_s(from_s, to_s), noisy=False, certain=True)
        voiced, above = self.runs_s(from_s, to_s), self._foreground.runs(from_s * rate, to_s * rate)
        if above is None:
            return ForegroundRuns(voiced, noisy=False, certain=False)
        found = _shared(voiced, [(start / rate, end / rate) for start, end in above])
        return ForegroundRuns(found, noisy=found != voiced, certain=True)

    def on_grid(self, position: int) -> int:
        """Align the `position` (samples) at which a resumed session starts, so that it measures the same windows as
        earlier sessions."""
        return self._foreground.on_grid(position)


def _shared(some: list[tuple[float, float]], others: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the intersection of two sorted lists of ranges. The ranges of a list do not touch each other.

    At full speed, a commit has some hundred ranges, which mostly lie in few ranges of the other list. So they
    are copied together, and not compared one by one."""
    shared = []
    for start, end in some:
        first = bisect_right(others, (start, inf))  # the first range that begins after `start`
        if first and others[first - 1][1] > start:
            first -= 1
        shared += _clipped(others[first : bisect_left(others, (end,))], start, end)
    return shared


def _clipped(runs: list[tuple[float, float]], from_s: float, to_s: float) -> list[tuple[float, float]]:
    """Limit sorted runs, which all overlap the range from `from_s` to `to_s`, to this range. Changes the list."""
    if runs:
        runs[0] = (max(from_s, runs[0][0]), runs[0][1])
        runs[-1] = (runs[-1][0], min(to_s, runs[-1][1]))
    return runs
