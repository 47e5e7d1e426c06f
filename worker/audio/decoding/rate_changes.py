"""Converts audio whose sample rate changes to one rate."""

from __future__ import annotations

from collections.abc import Iterator

from worker.audio.decoding.downmix import Samples
from worker.audio.resample import StreamResampler


class RateConverter:
    """Resamples stretches whose rate differs from `rate` (Hz). A stretch of n samples becomes
    `resampled_length(n, its rate, rate)` samples, so the next stretch begins at the exact position."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler: StreamResampler | None = None

    def feed(self, rate: int, samples: Samples) -> Iterator[Samples]:
        """Convert a block. Yields blocks at the common rate; the filter may return some samples with the next call."""
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
        """The remaining samples of the last stretch."""
        if self._resampler is not None:
            out = self._resampler.flush()
            self._resampler = None
            if len(out):
                yield out
