"""Decodes a source once into a temporary file, from which several sections can be read at the same time.

Used for codecs without exact seek (MP3, Vorbis, Opus and others) and for files of unknown length. Without the temporary
file, a reader of a section would have to decode all audio before the section. The file contains 16-bit mono at the wire
rate (115 MB for an hour at 16 kHz). The file has no name, so the system deletes it when the process ends, even after a
crash.
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
from worker.audio.opened_file import SourceFile
from worker.audio.pcm_frames import BYTES_PER_SAMPLE, wire_frames
from worker.audio.source import Audio, AudioInfo
from worker.audio.undecoded_ranges import UndecodedRange

_BLOCK_S: Final = 1.0


class PcmSpool:
    """The temporary file with the decoded audio. `reader()` returns a source with exact seek; any number of readers may
    be open."""

    def __init__(self, path: SourceFile, rate: int, space: JobSpace) -> None:
        """`path` names the source in messages. `rate`: the wire rate in Hz. `space`: the disk space of the job. Raises
        OSError if no file can be created."""
        self.path = path
        self.rate = rate
        self.samples = 0
        self._space = space
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="stt-batch-", buffering=0)  # noqa: SIM115  see close

    def fill(self, source: Audio, progress: Callable[[float], None]) -> None:
        """Decode all of `source` into the file; blocks the thread. `progress` receives the number of seconds decoded so
        far, and may raise to stop.

        Raises DamagedSource if nothing can be decoded, OSError if the disk is full, TooLarge and SpaceInUse."""
        for frame in wire_frames(source, self.rate, round(_BLOCK_S * self.rate)):
            self._space.take(len(frame))
            left = memoryview(frame)
            while left:
                left = left[os.write(self._file.fileno(), left) :]
            self.samples += len(frame) // BYTES_PER_SAMPLE
            progress(self.samples / self.rate)

    def reader(self) -> SpoolReader:
        return SpoolReader(self)

    def read(self, start: int, samples: int) -> bytes:
        """Read up to `samples` samples from sample `start` on, as 16-bit PCM."""
        return os.pread(self._file.fileno(), samples * BYTES_PER_SAMPLE, start * BYTES_PER_SAMPLE)

    def close(self) -> None:
        """Delete the file, and release the disk space of the whole job. So all spools of a job must be closed at the
        same time."""
        self._file.close()
        self._space.release()


class SpoolReader:
    """Reads a spool; implements `worker.audio.source.Audio`."""

    def __init__(self, spool: PcmSpool) -> None:
        self.path = spool.path
        self.info = AudioInfo(spool.rate, 1, spool.samples, "PCM_16")
        self.frames_decoded = 0
        self.warnings: tuple[str, ...] = ()
        self.undecoded: tuple[UndecodedRange, ...] = ()
        self._spool = spool

    def blocks(self, start_frame: int = 0, block_s: float = _BLOCK_S) -> Iterator[Samples]:
        """Yield mono float32[n] from `start_frame` to the end, full scale 1.0."""
        for block in self.stored_blocks(start_frame, block_s):
            yield block.astype(np.float32) / np.float32(32768)

    def stored_blocks(self, start_frame: int = 0, block_s: float = _BLOCK_S) -> Iterator[Pcm16]:
        """Yield the samples of `blocks` as int16[n]."""
        size = max(1, round(block_s * self._spool.rate))
        self.frames_decoded = start_frame
        while block := self._spool.read(self.frames_decoded, size):
            self.frames_decoded += len(block) // BYTES_PER_SAMPLE
            yield np.frombuffer(block, "<i2")

    def close(self) -> None:
        """Does nothing: the spool closes its file."""

    def __enter__(self) -> SpoolReader:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()
