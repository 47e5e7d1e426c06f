"""Converts audio whose sample rate changes to one rate."""

from __future__ import annotations

from collections.abc import Iterator

from worker.audio.decoding.downmix import Samples
from worker.audio.resample import StreamResampler


class RateConverter:
    """Resamples consecutive blocks whose rate differs from `rate` (Hz). If n samples in a row have the same rate r,
    they become `resampled_length(n, r, rate)` samples. So the audio after a change of rate begins at the exact
    position."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler: StreamResampler | None = None

    def feed(self, rate: int, samples: Samples) -> Iterator[Samples]:
        """Convert a block. Yields blocks at the common rate. The filter may return some of the samples only at the next
        call."""
        if self._resampler is not None and self._resampler.in_rate != rate:
            yield from self.flush()
        if rate == self._rate:
            yield samples
            return
        if self._resampler is None:
            self._resampler = StreamResampler(rate, self._rate)
        out = self._resampler.process(samples)
        if len(out):
            yield out

    def flush(self) -> Iterator[Samples]:
        """Yield the samples that are still in the filter."""
        if self._resampler is not None:
            out = self._resampler.flush()
            self._resampler = None
            if len(out):
                yield out
