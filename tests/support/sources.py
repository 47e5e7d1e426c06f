"""An audio source that reads a signal from memory, for tests of code that otherwise reads a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.support.tones import Samples
from worker.audio.source import AudioInfo


class SignalSource:
    """Implements the part of the interface of `SndfileSource` that readers of blocks use. `frames`: length that the
    source declares, or None if it declares none."""

    def __init__(self, blocks: Iterable[Samples], rate: int = 16000, frames: int | None = None) -> None:
        self._blocks = blocks
        self.info = AudioInfo(rate, 1, frames, "TEST/FLOAT")
        self.frames_decoded = 0

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        self.frames_decoded = 0
        for block in self._blocks:
            skipped = max(0, start_frame - self.frames_decoded)
            self.frames_decoded += len(block)
            if len(block) > skipped:
                yield block[skipped:]

    stored_blocks = blocks


def in_blocks(signal: Samples, size: int) -> list[Samples]:
    """Split a signal into blocks of `size` samples. The last block may be shorter."""
    return [signal[at : at + size] for at in range(0, len(signal), size)]
