"""Describes an audio source: the values of its header, the interface of open audio, and the hash of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from worker.audio.audio_tracks import Track
from worker.audio.opened_file import SourceFile
from worker.audio.undecoded_ranges import UndecodedRange
from worker.transient_os_errors import source_error

if TYPE_CHECKING:
    import numpy.typing as npt

_HASH_BLOCK_BYTES: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The audio format and length that the header of a file declares."""

    sample_rate: int
    """In Hz."""
    channels: int
    frames: int | None
    """Samples per channel according to the header, or None if it declares no length. Only decoding gives the real
    number."""
    format: str
    """Container and codec, for example FLAC/PCM_16."""
    tracks: tuple[Track, ...] = ()
    """The audio tracks of a container that can have several."""

    @property
    def duration_s(self) -> float | None:
        return None if self.frames is None else self.frames / self.sample_rate


class Audio(Protocol):
    """Open audio: a file, or the decoded audio of a file on the disk."""

    info: AudioInfo
    frames_decoded: int
    """Current read position, in samples per channel from the start of the source."""

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def undecoded(self) -> tuple[UndecodedRange, ...]:
        """Ranges that could not be decoded, up to the current read position."""
        ...

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[npt.NDArray[Any]]:
        """Yield mono float32[n] from sample `start_frame` on, full scale 1.0, in blocks of at most `block_s`
        seconds."""
        ...

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[npt.NDArray[Any]]:
        """Yield the samples of `blocks`, but as int16 if the source is 16-bit and one channel is read."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...


def sndfile_reason(error: str) -> str:
    """Return the reason of a libsndfile error, for messages. One reason is corrected: for a file that looks like MP3
    but is not, libsndfile 1.2.2 reports that the file does not exist."""
    return "nothing in it is audio" if error.startswith("File does not exist") else error.strip(" .")


def sha256_of(source: SourceFile) -> str:
    """Return the SHA-256 of the content in hexadecimal. Reads the file in small blocks. Raises SourceError,
    WorkerShortage."""
    try:
        with source.open(buffering=0) as file:
            digest, block = hashlib.sha256(), memoryview(bytearray(_HASH_BLOCK_BYTES))
            while count := file.readinto(block):  # type: ignore[attr-defined]
                digest.update(block[:count])
    except OSError as exc:
        raise source_error(exc, str(source)) from exc
    return digest.hexdigest()
