"""An audio source before and while it is decoded: its facts, the interface of open audio, and its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from worker.audio.audio_tracks import Track
from worker.audio.opened_file import SourceFile
from worker.audio.undecoded_ranges import UndecodedRange
from worker.errors import DamagedSource
from worker.transient_os_errors import source_error

if TYPE_CHECKING:
    import numpy.typing as npt

_HASH_BLOCK_BYTES: Final = 1 << 19


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header of a file says of its audio."""

    sample_rate: int
    """Hz."""
    channels: int
    frames: int | None
    """Samples per channel as the header has it; None where it does not say. Only decoding tells the truth."""
    format: str
    """Container and coding, for example FLAC/PCM_16."""
    tracks: tuple[Track, ...] = ()
    """The audio tracks of a container that can have several."""

    @property
    def duration_s(self) -> float | None:
        return None if self.frames is None else self.frames / self.sample_rate


class Audio(Protocol):
    """Open audio: a file, or what was decoded from one."""

    info: AudioInfo
    frames_decoded: int
    """Samples per channel, from the first of the source, up to where it was read."""

    @property
    def warnings(self) -> tuple[str, ...]: ...

    @property
    def undecoded(self) -> tuple[UndecodedRange, ...]:
        """Stretches that could not be decoded, up to the position read so far."""
        ...

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[npt.NDArray[Any]]:
        """Mono float32[n] from `start_frame` on, full scale 1.0."""
        ...

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[npt.NDArray[Any]]:
        """The same, but int16 where it is kept as one channel of 16 bits."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...


def check_readable(file: SourceFile) -> None:
    """Raises DamagedSource for an empty file, WorkerShortage if it cannot be read now."""
    if not file.stamp().size_bytes:
        raise DamagedSource(f"{file}: the file is empty (0 bytes)")


def sndfile_reason(error: str) -> str:
    """What libsndfile says, as it may be told. Of what looks like MP3 and holds none, 1.2.2 says that there is no such
    file."""
    return "nothing in it is audio" if error.startswith("File does not exist") else error.strip(" .")


def sha256_of(source: SourceFile) -> str:
    """The sha256 of the content in hexadecimal, read in small blocks. Raises SourceError, WorkerShortage."""
    try:
        with source.open(buffering=0) as file:
            digest, block = hashlib.sha256(), memoryview(bytearray(_HASH_BLOCK_BYTES))
            while count := file.readinto(block):  # type: ignore[attr-defined]
                digest.update(block[:count])
    except OSError as exc:
        raise source_error(exc, str(source)) from exc
    return digest.hexdigest()


def sha256_file(path: Path) -> str:
    """As `sha256_of`, for a path. Also raises SourceNotFound."""
    with SourceFile.at(path) as file:
        return sha256_of(file)
