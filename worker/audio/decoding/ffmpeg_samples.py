"""Converts FFmpeg frames of any sample format to arrays of interleaved samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt


class FramePacker:
    """Converts a frame to int16[n, channels] (full scale 32768) or float32[n, channels] (full scale 1.0).

    The planes of several channels are joined by FFmpeg's resampler, not by PyAV: with eight planes, PyAV 18 reads past
    the end of their list and crashes the process.
    """

    def __init__(self, make_joiner: Callable[..., Any]) -> None:
        """`make_joiner`: the class `av.AudioResampler`, passed in because only one module imports av."""
        self._make_joiner = make_joiner
        self._joiners: dict[tuple[str, str, int], Any] = {}

    def __call__(self, frame: Any) -> npt.NDArray[Any]:
        channels = frame.layout.nb_channels
        frames = self._joined(frame) if frame.format.is_planar and channels > 1 else [frame]
        parts = [_scaled(np.frombuffer(f.planes[0], _dtype(f.format.name))[: f.samples * channels]) for f in frames]
        return (parts[0] if len(parts) == 1 else np.concatenate(parts)).reshape(-1, channels)

    def _joined(self, frame: Any) -> list[Any]:
        kind = (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind not in self._joiners:
            self._joiners[kind] = self._make_joiner(format=frame.format.packed, layout=frame.layout)
        joined: list[Any] = self._joiners[kind].resample(frame)
        return joined


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
