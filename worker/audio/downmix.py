"""All channels to one with equal weights, or one of them, as float32 at full scale 1.0, without what is not sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from worker.audio.scratch import scratch

Samples = npt.NDArray[np.float32]
Pcm16 = npt.NDArray[np.int16]

_LOUDEST: Final = 16.0  # +24 dB over full scale: nothing real is louder, and nothing after this can overflow


def to_mono(
    channels: int,
    dtype: type[np.int16] | type[np.float32],
    warn: Callable[[str], None],
    channel: int | None,
    *,
    stored: bool,
) -> Callable[[npt.NDArray[Any]], Samples | Pcm16]:
    """What makes one channel of buffers, all mixed or only `channel`; `stored`: one of 16 bits stays as it is."""
    if not stored or dtype is not np.int16 or (channels > 1 and channel is None):
        return Downmix(channels, dtype, warn, channel)

    def only(frames: npt.NDArray[Any]) -> Pcm16:
        """int16[n, channels] -> int16[n], not copied where there is only one."""
        return np.ascontiguousarray(frames[:, channel or 0])

    return only


class Downmix:
    """Turns interleaved int16 or float32 buffers of one source into mono blocks.

    One `np.dot` with weights: a thirtieth of what `mean(axis=1)` costs.
    """

    def __init__(
        self,
        channels: int,
        dtype: type[np.int16] | type[np.float32],
        warn: Callable[[str], None],
        channel: int | None = None,
    ) -> None:
        """`channel`, from 0: take only this one. `warn` is told of samples that are not numbers or louder than full
        scale; only float32 can hold them."""
        self._only = 0 if channels == 1 else channel
        scale = (1 / 32768 if dtype is np.int16 else 1.0) / (channels if self._only is None else 1)
        self._weights = np.full(channels, scale, dtype=np.float32)
        self._convert = dtype is np.int16
        self._warn = warn

    def __call__(self, frames: npt.NDArray[Any]) -> Samples:
        """int16 or float32[n, channels] -> a new float32[n]."""
        block = np.empty(len(frames), dtype=np.float32)
        if self._only is not None:
            np.multiply(frames[:, self._only], self._weights[0], out=block)
        else:
            self._mix(frames, block)
        if not self._convert and len(block):
            self._make_sound(block)
        return block

    def _mix(self, frames: npt.NDArray[Any], block: Samples) -> None:
        if self._convert:
            with scratch(len(frames), frames.shape[1], np.float32) as converted:
                np.copyto(converted, frames)
                np.dot(converted, self._weights, out=block)
        else:
            with np.errstate(invalid="ignore", over="ignore"):  # of samples that are not numbers, see below
                np.dot(frames, self._weights, out=block)

    def _make_sound(self, block: Samples) -> None:
        """Replace what is not a number, in place, and bound the rest; a rare case, so checked cheaply."""
        peak = max(float(block.max()), -float(block.min()))
        if peak <= 1.0:
            return
        if not np.isfinite(peak):  # min and max pass a NaN on
            self._warn("holds samples that are not numbers (NaN or infinite); they are taken as silence")
            np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            peak = max(float(block.max()), -float(block.min()))
        if peak > _LOUDEST:
            self._warn(f"holds samples {peak:.3g} times as loud as full scale; they are clipped")
            np.clip(block, -_LOUDEST, _LOUDEST, out=block)
