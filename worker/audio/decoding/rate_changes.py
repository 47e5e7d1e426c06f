"""Joins stretches of different sample rates into one signal of one rate."""

from __future__ import annotations

from collections.abc import Iterator

from worker.audio.decoding.downmix import Samples
from worker.audio.resample import StreamResampler


class RateConverter:
    """Resamples stretches whose rate differs. A stretch of n samples becomes `resampled_length(n, its rate, rate)`
    samples, so the end of one stretch is the exact start of the next."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._resampler: StreamResampler | None = None

    def feed(self, rate: int, samples: Samples) -> Iterator[Samples]:
        """Blocks at the common rate; some samples may follow with the next call."""
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
        """The rest of the last stretch."""
        if self._resampler is not None:
            out = self._resampler.flush()
            self._resampler = None
            if len(out):
                yield out
