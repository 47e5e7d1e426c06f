"""Mono blocks from one sample rate to another, the filter's state kept between blocks. The only importer of soxr.

float32 at quality HQ: bit for bit what one call over the whole signal gives, at every block size, and only a tenth
dearer than the lowest quality. (int16 is dithered by soxr, so it would depend on the block size.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import soxr

Samples = npt.NDArray[np.float32]

_EMPTY: Samples = np.zeros(0, dtype=np.float32)


def resampled_length(samples: int, in_rate: int, out_rate: int) -> int:
    """Samples at `out_rate` that `samples` at `in_rate` become: n * out / in, rounded to nearest, half up."""
    return (2 * samples * out_rate + in_rate) // (2 * in_rate)


class StreamResampler:
    """Resamples one continuous mono signal block by block.

    `process` may return fewer samples than the block stands for, even none: the filter looks ahead. `flush` gives the
    rest. All outputs together are `resampled_length(samples in, in_rate, out_rate)` samples, aligned with the input:
    output sample k is the signal at k / out_rate seconds.
    """

    def __init__(self, in_rate: int, out_rate: int) -> None:
        """Rates in Hz, both positive (ValueError otherwise). Equal rates pass the blocks on untouched."""
        if in_rate <= 0 or out_rate <= 0:
            raise ValueError(f"sample rates must be positive, not {in_rate} and {out_rate}")
        self.in_rate = in_rate
        self.out_rate = out_rate
        self._soxr = None if in_rate == out_rate else soxr.ResampleStream(in_rate, out_rate, 1, "float32", "HQ")

    def process(self, block: Samples) -> Samples:
        """float32[n] at in_rate -> float32[m] at out_rate, m between 0 and about n * out / in."""
        if self._soxr is None or not len(block):
            return block
        out: Samples = self._soxr.resample_chunk(block)
        return out

    def flush(self) -> Samples:
        """The samples still inside the filter. Afterwards the resampler is as new, ready for another signal."""
        if self._soxr is None:
            return _EMPTY
        out: Samples = self._soxr.resample_chunk(_EMPTY, last=True)
        self._soxr.clear()
        return out


def resample_blocks(blocks: Iterable[Samples], in_rate: int, out_rate: int) -> Iterator[Samples]:
    """The stage of a chain: blocks at in_rate to non-empty blocks at out_rate, flushed at the end of `blocks`."""
    resampler = StreamResampler(in_rate, out_rate)
    for block in blocks:
        out = resampler.process(block)
        if len(out):
            yield out
    out = resampler.flush()
    if len(out):
        yield out
