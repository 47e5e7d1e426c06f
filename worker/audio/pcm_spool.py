"""A source decoded once into a temporary file, so that sections can be read from any place of it at the same time.

For codings without an exact seek (MP3, Vorbis, Opus and others) and files whose length is not known: to reach the last
of 32 sections of an hour, each would have to decode all that comes before. The file holds 16-bit mono at the wire rate
(115 MB for an hour at 16 kHz), has no name, and is gone with the process, however that ends.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Final

import numpy as np

from worker.audio.decoded_disk_space import JobSpace
from worker.audio.decoding.downmix import Pcm16, Samples
from worker.audio.frames import BYTES_PER_SAMPLE, wire_frames
from worker.audio.opened_file import SourceFile
from worker.audio.source import Audio, AudioInfo
from worker.audio.undecoded_ranges import UndecodedRange

_BLOCK_S: Final = 1.0


class PcmSpool:
    """The temporary file. `reader()` gives a source that starts anywhere; any number of them at once."""

    def __init__(self, path: SourceFile, rate: int, share: JobSpace) -> None:
        """`path` names the source in messages, `share` is the disk space of its job. Raises OSError if no file can be
        created."""
        self.path = path
        self.rate = rate
        self.samples = 0
        self._share = share
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="stt-batch-", buffering=0)  # noqa: SIM115  see close

    def fill(self, source: Audio, progress: Callable[[float], None]) -> None:
        """Decode all of `source`; blocks the thread. `progress` is told the seconds decoded and may raise to end it.

        Raises DamagedSource when nothing can be decoded, OSError when the disk is full, TooLarge and SpaceInUse."""
        for frame in wire_frames(source, self.rate, round(_BLOCK_S * self.rate)):
            self._share.take(len(frame))
            left = memoryview(frame)
            while left:
                left = left[os.write(self._file.fileno(), left) :]
            self.samples += len(frame) // BYTES_PER_SAMPLE
            progress(self.samples / self.rate)

    def reader(self) -> SpoolReader:
        return SpoolReader(self)

    def read(self, start: int, samples: int) -> bytes:
        """Up to `samples` samples from `start` on."""
        return os.pread(self._file.fileno(), samples * BYTES_PER_SAMPLE, start * BYTES_PER_SAMPLE)

    def close(self) -> None:
        """Also releases the space of the job: all spools of a job are closed together."""
        self._file.close()
        self._share.release()


class SpoolReader:
    """Reads a spool as a file is read."""

    def __init__(self, spool: PcmSpool) -> None:
        self.path = spool.path
        self.info = AudioInfo(spool.rate, 1, spool.samples, "PCM_16")
        self.frames_decoded = 0
        self.warnings: tuple[str, ...] = ()
        self.undecoded: tuple[UndecodedRange, ...] = ()
        self._spool = spool

    def blocks(self, start_frame: int = 0, block_s: float = _BLOCK_S) -> Iterator[Samples]:
        """Mono float32[n] from `start_frame` to the end, full scale 1.0."""
        for block in self.stored_blocks(start_frame, block_s):
            yield block.astype(np.float32) / np.float32(32768)

    def stored_blocks(self, start_frame: int = 0, block_s: float = _BLOCK_S) -> Iterator[Pcm16]:
        """The same as int16[n]."""
        size = max(1, round(block_s * self._spool.rate))
        self.frames_decoded = start_frame
        while block := self._spool.read(self.frames_decoded, size):
            self.frames_decoded += len(block) // BYTES_PER_SAMPLE
            yield np.frombuffer(block, "<i2")

    def close(self) -> None:
        """The spool stays."""

    def __enter__(self) -> SpoolReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
