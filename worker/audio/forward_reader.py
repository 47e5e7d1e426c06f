"""Reads ranges of one source in order of time, and decodes the audio up to the last range only once."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from worker.audio.file_formats.coding_names import seeks_exactly
from worker.audio.source import Audio
from worker.audio.undecoded_ranges import UndecodedRange

BLOCK_S: Final = 1.0
"""Seconds that are decoded at a time."""
MAX_DECODED_GAP_S: Final = 2.0
"""A longer gap before a range is skipped by a seek, if the codec seeks exactly. Below that, opening the file again and
seeking costs more CPU time than decoding the gap."""

_EMPTY: Final = np.zeros(0, np.float32)


class ForwardReader:
    """An open source whose `blocks` continues where the last iteration ended; implements `Audio`.

    To reach a position, codecs without exact seek decode all audio before it. A second pass reads hundreds of ranges of
    a long file, so its cost would grow with the square of the length. This reader decodes from the start again only for
    a position before its last block. One iteration may run at a time; the next one ends it.
    """

    def __init__(self, source: Audio) -> None:
        """`source`: closed together with this reader. No other caller may read it."""
        self.info = source.info
        self.frames_decoded = 0
        self._source = source
        self._exact = source.info.frames is not None and seeks_exactly(source.info.format.rpartition("/")[2])
        self._blocks: Iterator[npt.NDArray[Any]] | None = None
        self._last: npt.NDArray[Any] = _EMPTY
        """The last block that was decoded. The next range may begin in it."""
        self._last_start = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._source.warnings

    @property
    def undecoded(self) -> tuple[UndecodedRange, ...]:
        return self._source.undecoded

    def blocks(self, start_frame: int = 0, block_s: float = BLOCK_S) -> Iterator[npt.NDArray[Any]]:
        """See `Audio.blocks`. The samples are those of a new reader that begins at `start_frame`."""
        if not self._can_continue(start_frame):
            self._blocks = self._source.blocks(start_frame, BLOCK_S)
            self._last, self._last_start = _EMPTY, start_frame
        size = max(1, round(block_s * self.info.sample_rate))
        at = start_frame
        while True:
            # The block is found by its position, because the caller may stop in the middle of any block.
            while at < self._last_end:
                part = self._last[at - self._last_start :][:size]
                at += len(part)
                self.frames_decoded = at
                yield part
            if not self._decode_next():
                return

    def stored_blocks(self, start_frame: int = 0, block_s: float = BLOCK_S) -> Iterator[npt.NDArray[Any]]:
        """Yield the same float32 samples as `blocks`. Converted to 16 bits, they equal those of the source."""
        return self.blocks(start_frame, block_s)

    @property
    def _last_end(self) -> int:
        return self._last_start + len(self._last)

    def _can_continue(self, start_frame: int) -> bool:
        if self._blocks is None or start_frame < self._last_start:
            return False
        gap = start_frame - self._last_end
        return not self._exact or gap <= MAX_DECODED_GAP_S * self.info.sample_rate

    def _decode_next(self) -> bool:
        """Decode the next block. Returns False at the end of the source."""
        # An iteration that failed cannot continue, so it is stored again only after success. One that ended is stored,
        # too: for a range at the end of the source, nothing must be decoded again.
        blocks, self._blocks = self._blocks, None
        block = next(blocks, None) if blocks is not None else None
        self._blocks = blocks
        if block is None:
            return False
        self._last_start, self._last = self._last_end, block
        return True

    def close(self) -> None:
        # The reference is dropped instead of closing the iteration, because a thread of a cancelled job may still run
        # it.
        self._blocks, self._last = None, _EMPTY
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
