"""Converts FFmpeg frames of any sample format to arrays of interleaved samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

MAX_PLANES: Final = 6
"""Maximum number of planes that are read directly: with eight planes, PyAV 18 reads past the end of their list and
crashes the process."""


class FramePacker:
    """Converts frames to int16[n, channels] (full scale 32768) or float32[n, channels] (full scale 1.0).

    The planes of more than `MAX_PLANES` channels are joined by FFmpeg's resampler, not by PyAV. It takes 22 µs for each
    frame, so fewer planes are read directly.
    """

    def __init__(self, make_joiner: Callable[..., Any]) -> None:
        """`make_joiner`: the class `av.AudioResampler`, passed in because only one module imports av."""
        self._make_joiner = make_joiner
        self._joiners: dict[tuple[str, str, int], Any] = {}

    def __call__(self, frames: Sequence[Any]) -> npt.NDArray[Any]:
        """Return the samples of consecutive frames, which must have one format."""
        first = frames[0]
        channels, dtype = first.layout.nb_channels, _dtype(first.format.name)
        if not first.format.is_planar or channels == 1:
            return _scaled(_joined([_values(f.planes[0], dtype, f.samples * channels) for f in frames])).reshape(
                -1, channels
            )
        if channels > MAX_PLANES:
            packed = [one for frame in frames for one in self._interleaved(frame)]
            return _scaled(_joined([_values(f.planes[0], dtype, f.samples * channels) for f in packed])).reshape(
                -1, channels
            )
        planes = [_values(plane, dtype, frame.samples) for frame in frames for plane in frame.planes]
        joined = np.empty((channels, sum(map(len, planes)) // channels), dtype)
        for channel in range(channels):
            np.concatenate(planes[channel::channels], out=joined[channel])
        return _scaled(joined).T

    def _interleaved(self, frame: Any) -> list[Any]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind not in self._joiners:
            self._joiners[kind] = self._make_joiner(format=frame.format.packed, layout=frame.layout)
        joined: list[Any] = self._joiners[kind].resample(frame)
        return joined


def _values(plane: Any, dtype: str, count: int) -> npt.NDArray[Any]:
    return np.frombuffer(plane, dtype, count)


def _joined(parts: list[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _dtype(name: str) -> str:
    """Return the numpy type of an FFmpeg sample format, planar or interleaved."""
    kinds = {"u8": "u1", "s16": "i2", "s32": "i4", "s64": "i8", "flt": "f4", "dbl": "f8"}
    return kinds[name.removesuffix("p")]


def _scaled(samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if samples.dtype in (np.int16, np.float32):
        return samples
    if samples.dtype == np.uint8:
        return (samples.astype(np.int16) - 128) * np.int16(256)
    scale = 1.0 if samples.dtype.kind == "f" else 1.0 / float(1 << (8 * samples.dtype.itemsize - 1))
    scaled: npt.NDArray[Any] = (samples * scale).astype(np.float32)
    return scaled
