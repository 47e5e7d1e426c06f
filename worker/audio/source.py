"""What can be told of an audio file without decoding it: is its name one of audio, can it be read, its hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from worker.audio.audio_tracks import Track
from worker.audio.source_file import SourceFile
from worker.audio.undecoded_ranges import Undecoded
from worker.errors import DamagedSource
from worker.resource_shortages import source_error

if TYPE_CHECKING:
    import numpy.typing as npt

_AUDIO: Final = (
    # The formats libsndfile 1.2.2 lists and the endings they are usually found under; headerless data (.raw) is not
    # one of them, as its rate and coding would be a guess. The last line is what telephone systems write.
    "wav wave wavex bwf rf64 w64 flac ogg oga opus mp3 mp2 mp1 mpga aif aiff aifc au snd caf voc sf ircam nist sph "
    "pvf paf fap avr svx 8svx iff htk mat mat4 mat5 xi sds sd2 wve mpc2k "
    "gsm vox"
)
_OTHER_MEDIA: Final = (
    "m4a m4b m4r mp4 m4v mov aac ac3 eac3 dts webm weba mka mkv wma wmv asf amr awb 3gp 3gpp 3g2 avi flv f4a mpg mpeg "
    "ts mts m2ts vob ape wv tta mpc ra rm spx dsf dff tak mxf gxf nut oma qcp xwma adx shn sox thd mlp loas latm "
    "g722 amrnb amrwb divx ogv ogm m4p mka mk3d f4v qt m1a m2a mp+ aa ofr"
)
AUDIO_ENDINGS: Final = frozenset(_AUDIO.split())
OTHER_MEDIA_ENDINGS: Final = frozenset(_OTHER_MEDIA.split())
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
    def undecoded(self) -> tuple[Undecoded, ...]:
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


def reason_of(error: str) -> str:
    """What libsndfile says, as it may be told. Of what looks like MP3 and holds none, 1.2.2 says that there is no such
    file."""
    return "nothing in it is audio" if error.startswith("File does not exist") else error.strip(" .")


def _ending(path: Path) -> str:
    return path.suffix[1:].lower()


def is_audio_name(path: Path) -> bool:
    """Whether a walk over a folder takes this file: its ending is one that libsndfile opens, in any case.

    Hidden files are not taken: `._call.wav` is what macOS leaves beside `call.wav` on foreign disks, and not audio.
    """
    return not path.name.startswith(".") and _ending(path) in AUDIO_ENDINGS


def is_other_media_name(path: Path) -> bool:
    """Whether the ending promises audio that libsndfile does not open, so that a walk can name it, not pass it over."""
    return not path.name.startswith(".") and _ending(path) in OTHER_MEDIA_ENDINGS


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
