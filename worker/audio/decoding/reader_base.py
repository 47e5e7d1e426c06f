"""Base class of the readers of a whole file: position, warnings, undecoded ranges and closing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt

from worker.audio.decoding.downmix import Samples
from worker.audio.decoding.rate_changes import RateConverter
from worker.audio.decoding.stream_timeline import PlacedBlock
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo
from worker.audio.undecoded_ranges import UndecodedLog, UndecodedRange
from worker.audio.warning_log import WarningLog
from worker.errors import DamagedSource


class ReaderBase(ABC):
    """An open file that implements `Audio`. `frames_decoded`, `warnings` and `undecoded` grow while `blocks` runs.

    After the last block, `frames_decoded` is the exact length of the source in samples per channel, even if the header
    is wrong.
    """

    info: AudioInfo
    """Format and length according to the header."""

    def __init__(self, path: SourceFile, warnings: Iterable[str] = ()) -> None:
        self.path = path
        self.frames_decoded = 0
        self._warnings = WarningLog(warnings)
        self._undecoded = UndecodedLog()
        self._closed = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the user, each listed once: damage, a wrong header, samples that are not numbers."""
        return self._warnings.texts

    @property
    def undecoded(self) -> tuple[UndecodedRange, ...]:
        """Ranges that could not be decoded, up to the current read position."""
        return self._undecoded.ranges

    @abstractmethod
    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """Yield the samples from `start_frame` (of the source's rate) to the end, mono float32[n], full scale 1.0.

        Channels are mixed with equal weights, unless the file was opened for one channel. Blocks are at most `block_s`
        seconds long; the reader does not reuse their memory. Only one iteration may run at a time. Raises DamagedSource
        if nothing can be decoded. Other damage is reported in `undecoded` and `warnings`.
        """

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[npt.NDArray[Any]]:
        """Yield the same samples as `blocks`. A reader of 16-bit files may yield them as int16."""
        return self.blocks(start_frame, block_s)

    def close(self) -> None:
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _warn(self, text: str) -> None:
        self._warnings.add(text)

    def _begin(self, start_frame: int, block_s: float) -> None:
        """Start an iteration of `blocks`. Raises ValueError for invalid arguments, and after `close`."""
        if start_frame < 0 or block_s <= 0:
            raise ValueError(f"start_frame {start_frame} must not be negative, block_s {block_s} must be positive")
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        self.frames_decoded = 0
        self._undecoded.clear()

    def _counted(self, blocks: Iterable[npt.NDArray[Any]], start_frame: int) -> Iterator[npt.NDArray[Any]]:
        """Add the lengths of the blocks to `frames_decoded`, and yield the samples from `start_frame` on."""
        for block in blocks:
            skip = max(0, start_frame - self.frames_decoded)
            self.frames_decoded += len(block)
            ready = [block[skip:] if skip else block] if skip < len(block) else []
            del block  # see `pcm_frames`: a waiting generator refers to no block
            if ready:
                yield ready.pop()

    def _at_one_rate(
        self, blocks: Iterable[PlacedBlock], one_rate: RateConverter, start_s: float
    ) -> Generator[Samples, None, float]:
        """Resample blocks and record damage. `start_s`: position in the source, in seconds, of the first block. Returns
        the position of the end of the last block."""
        at_s = start_s
        for block in blocks:
            end_s = at_s + len(block.samples) / block.rate
            if block.lost and self._undecoded.add(at_s, end_s, block.lost):
                self._warn(f"damaged at about {at_s:.1f} s: {block.lost}")
            at_s = end_s
            yield from one_rate.feed(block.rate, block.samples)
        return at_s

    def _nothing_decoded(self) -> DamagedSource:
        reason = f" ({self.warnings[-1]})" if self.warnings else ""
        return DamagedSource(f"{self.path}: no part of its audio could be decoded{reason}")
