"""Reduces audio to one channel: either the mix of all channels with equal weights, or one selected channel. Output:
float32, full scale 1.0.

If channels cancel each other (inverted phase), the loudest channel replaces the mix.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from worker.audio.decoding.phase_cancellation import (
    CONTEXT,
    INVERTED,
    MIX,
    QUIET,
    choose,
    may_cancel,
    measure,
    window_samples,
)

Samples = npt.NDArray[np.float32]
Pcm16 = npt.NDArray[np.int16]
Dtype = type[np.int16] | type[np.float32]

_LOUDEST: Final = 16.0  # +24 dB over full scale: real audio is not louder; clipping there avoids overflow later
_BATCH_S: Final = 0.25


class ChannelReducer(Protocol):
    """Reduces the buffers of one source to one channel. The buffers are passed in order. Each buffer gives one block of
    the same length."""

    shares_buffer: bool
    """Whether returned blocks may be views of the buffers. The caller must then not overwrite a buffer too early."""

    def push(self, frames: npt.NDArray[Any]) -> list[Any]:
        """Add a buffer[n, channels]. Returns the blocks that are ready. The list is empty while more audio is needed to
        choose the channels."""
        ...

    def flush(self) -> list[Any]:
        """Return the remaining blocks at the end of the source."""
        ...


def to_mono(
    channels: int,
    dtype: Dtype,
    warn: Callable[[str], None],
    channel: int | None,
    *,
    rate: int,
    first_s: float = 0.0,
    stored: bool = False,
) -> ChannelReducer:
    """Create a reducer that mixes all channels, or takes only `channel` (from 0).

    `rate`: in Hz. `first_s`: position in the source, in seconds, at which the audio begins. `stored`: return a single
    16-bit channel as int16, without conversion."""
    if channels > 1 and channel is None:
        return Downmix(channels, dtype, warn, rate, first_s)
    return _Stored(channel or 0) if stored and dtype is np.int16 else OneChannel(channel or 0, dtype, warn)


def lead_frames(channels: int, channel: int | None, rate: int, start: int) -> int:
    """Return the frame from which a source must be decoded, so that the mix is correct from frame `start` on. This
    frame is earlier than `start`, because the choice of channels depends on the windows before `start`."""
    if channels == 1 or channel is not None:
        return start
    window = window_samples(rate)
    return max(0, start // window - CONTEXT) * window


class _Stored:
    """Takes one int16 channel unchanged. If the source has only this channel, the samples are not copied."""

    shares_buffer = True

    def __init__(self, channel: int) -> None:
        self._channel = channel

    def push(self, frames: npt.NDArray[Any]) -> list[Pcm16]:
        return [np.ascontiguousarray(frames[:, self._channel])]

    def flush(self) -> list[Pcm16]:
        return []


class OneChannel:
    """Takes one channel of int16 or float32 buffers."""

    shares_buffer = False

    def __init__(self, channel: int, dtype: Dtype, warn: Callable[[str], None]) -> None:
        """`warn` receives a warning about float32 samples that are not numbers or exceed full scale."""
        self._channel = channel
        self._scale = np.float32(_scale(dtype))
        self._is_float = dtype is np.float32
        self._warn = warn

    def push(self, frames: npt.NDArray[Any]) -> list[Samples]:
        block = np.empty(len(frames), dtype=np.float32)
        np.multiply(frames[:, self._channel], self._scale, out=block)
        return [replace_invalid(block, self._warn) if self._is_float else block]

    def flush(self) -> list[Samples]:
        return []


class Downmix:
    """Mixes interleaved int16 or float32 buffers of one source, with a delay of a quarter to half a second.

    Each buffer is mixed at once into its block. The block is returned when the channels are chosen for all of its
    windows. Only frames whose channel is not chosen yet are copied. Nearly all audio uses the mix.
    Copies of all frames, and of the mix to cut it into blocks, took 0.6 CPU seconds per hour of 44.1 kHz stereo."""

    shares_buffer = False

    def __init__(
        self, channels: int, dtype: Dtype, warn: Callable[[str], None], rate: int, first_s: float = 0.0
    ) -> None:
        self._weights = np.full(channels, _scale(dtype) / channels, dtype=np.float32)
        self._full_scale = 1 / _scale(dtype)
        self._is_float = dtype is np.float32
        self._warn = warn
        self._rate, self._window = rate, window_samples(rate)
        self._first_s = first_s
        self._undecided = np.zeros((0, channels), dtype)
        """Frames for which no channel has been chosen yet; they begin at the start of a window."""
        self._decided = 0
        """Number of frames before `_undecided`."""
        self._fresh: list[npt.NDArray[Any]] = []
        self._fresh_count = 0
        self._energies = np.zeros((1 + channels, 0), np.float32)
        """Energies of the windows in `_undecided`, preceded by those of up to CONTEXT earlier windows that affect the
        choice."""
        self._mixed: deque[Samples] = deque()
        """The mix of each buffer that was not returned yet."""
        self._returned = 0
        """Number of frames before `_mixed`."""
        self._last: int = MIX

    def push(self, frames: npt.NDArray[Any]) -> list[Samples]:
        """Add int16 or float32[n, channels]. Returns float32 blocks."""
        with np.errstate(invalid="ignore", over="ignore"):  # `replace_invalid` removes samples that are not numbers
            self._mixed.append(self._mix(frames))
        self._fresh_count += len(frames)
        if self._fresh_count < _BATCH_S * self._rate:
            self._fresh.append(frames.copy("K"))  # FFmpeg gives planes, libsndfile interleaved samples
            return []
        self._fresh.append(frames)
        self._decide(at_end=False)
        return self._blocks()

    def flush(self) -> list[Samples]:
        self._decide(at_end=True)
        return self._blocks()

    def _mix(self, frames: npt.NDArray[Any]) -> Samples:
        values = frames.astype(np.float32, copy=False)
        if not values.flags.f_contiguous or len(values) < 2:
            mix: Samples = values @ self._weights
            return mix
        # The channels are separate planes. Here the result of `@` would depend on the block size in the last bit.
        mix = values[:, 0] * self._weights[0]
        for channel in range(1, values.shape[1]):
            mix += values[:, channel] * self._weights[channel]
        return mix

    def _decide(self, *, at_end: bool) -> None:
        known = len(self._undecided) // self._window
        frames = self._undecided_and_fresh()
        self._fresh, self._fresh_count = [], 0
        whole = len(frames) // self._window
        measured = [self._energies, measure(frames[known * self._window : whole * self._window], *self._measure())]
        if at_end and (rest := frames[whole * self._window :]).size:
            measured.append(measure(_padded(rest, self._window), *self._measure()))
        self._energies = np.concatenate(measured, axis=1)
        windows = -(-len(frames) // self._window) if at_end else whole
        before = self._energies.shape[1] - windows
        decided = windows if at_end else max(0, windows - CONTEXT)
        if not decided:
            self._undecided = frames
            return
        done = min(len(frames), decided * self._window)
        # After a mixed window, nearly all audio takes the mix, and the choice of each window can be skipped.
        if self._last != MIX or may_cancel(self._energies):
            self._use_channels(frames[:done], choose(self._energies)[before : before + decided])
        self._undecided = frames[done:].copy("K")
        self._decided += done
        self._energies = self._energies[:, max(0, before + decided - CONTEXT) :]

    def _undecided_and_fresh(self) -> npt.NDArray[Any]:
        # The first `_undecided` is empty and interleaved. Joined with planes, it would make this and all later results
        # interleaved: 0.9 CPU seconds per hour of 44.1 kHz stereo instead of 0.4.
        parts = [part for part in (self._undecided, *self._fresh) if len(part)]
        return np.concatenate(parts) if parts else self._undecided

    def _measure(self) -> tuple[float, int]:
        return self._full_scale, self._rate

    def _use_channels(self, frames: npt.NDArray[Any], choice: npt.NDArray[np.int16]) -> None:
        """Replace the mix by the chosen channel in each window that has one. `frames`: begin at `_decided`."""
        scale = self._weights[0] * len(self._weights)
        for number, channel in enumerate(choice.tolist()):
            if channel >= 0:
                begin = number * self._window
                self._replace(self._decided + begin, frames[begin : begin + self._window, channel] * scale)
                if self._last == MIX:
                    at_s = self._first_s + (self._decided + begin) / self._rate
                    self._warn(
                        f"its channels cancel each other when they are mixed {INVERTED} at {at_s:.1f} s; "
                        f"channel {channel + 1} is used there"
                    )
            self._last = self._last if channel == QUIET else channel

    def _replace(self, position: int, samples: Samples) -> None:
        """Overwrite the mixed samples from frame `position` on, which may belong to several blocks."""
        start = self._returned
        for block in self._mixed:
            begin, end = max(position, start), min(position + len(samples), start + len(block))
            if begin < end:
                block[begin - start : end - start] = samples[begin - position : end - position]
            start += len(block)

    def _blocks(self) -> list[Samples]:
        """Return the blocks in which the channels of all windows are chosen."""
        blocks = []
        while self._mixed and self._returned + len(self._mixed[0]) <= self._decided:
            block = self._mixed.popleft()
            self._returned += len(block)
            blocks.append(replace_invalid(block, self._warn) if self._is_float else block)
        return blocks


def replace_invalid(block: Samples, warn: Callable[[str], None]) -> Samples:
    """Replace samples that are not numbers by silence, and clip samples far above full scale. Changes the block in
    place.

    For valid audio this function only computes the peak, which is cheap."""
    if not len(block):
        return block
    peak = max(float(block.max()), -float(block.min()))
    if peak <= 1.0:
        return block
    if not np.isfinite(peak):  # min and max propagate NaN
        warn("contains samples that are not numbers (NaN or infinite); they are replaced by silence")
        np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
        peak = max(float(block.max()), -float(block.min()))
    if peak > _LOUDEST:
        warn(f"contains samples of {peak:.3g} times full scale; they are clipped")
        np.clip(block, -_LOUDEST, _LOUDEST, out=block)
    return block


def _scale(dtype: Dtype) -> float:
    return 1 / 32768 if dtype is np.int16 else 1.0


def _padded(rest: npt.NDArray[Any], window: int) -> npt.NDArray[Any]:
    return np.pad(rest, ((0, window - len(rest)), (0, 0)))
