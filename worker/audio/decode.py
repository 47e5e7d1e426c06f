"""Opens an audio file and yields its samples as mono float32 blocks. The only importer of soundfile (libsndfile).

What libsndfile 1.2.2 and python-soundfile 0.14 do, as measured: python-soundfile seeks after every read, which for
FLAC costs more than the decoding, so `_Reader` reads on without; 16-bit codings are read as int16, which is up to
seven times cheaper than as float32; the downmix is one `np.dot`, a thirtieth of the cost of `mean(axis=1)`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soundfile

from worker.errors import DamagedSource, SourceError, SourceNotFound, UnsupportedSource

Samples = npt.NDArray[np.float32]

# Codings whose every value fits 16 bits, so that reading int16 loses nothing.
_INT16_SUBTYPES: Final = (
    "PCM_16 PCM_S8 PCM_U8 ULAW ALAW IMA_ADPCM MS_ADPCM GSM610 VOX_ADPCM G721_32 G723_24 G723_40 NMS_ADPCM_16 "
    "NMS_ADPCM_24 NMS_ADPCM_32 ALAC_16 DWVW_12 DWVW_16 DPCM_8 DPCM_16"
)
# The only codings that can hold values that are not numbers.
_FLOAT_SUBTYPES: Final = frozenset({"FLOAT", "DOUBLE"})
# Codings in which a seek lands on the exact sample. In the others the decoder needs what came before.
_SEEK_EXACT_SUBTYPES: Final = frozenset(
    {"PCM_16", "PCM_24", "PCM_32", "PCM_S8", "PCM_U8", "ULAW", "ALAW", "FLOAT", "DOUBLE"}
)

_UNKNOWN_FRAMES: Final = 1 << 62  # libsndfile gives 2**63 - 1 where a header names no length
_LOUDEST: Final = 16.0  # +24 dB over full scale: nothing real is louder, and nothing after this can overflow
_MAX_BLOCK_VALUES: Final = 1 << 20
_RATES: Final = range(1000, 1_000_001)

_UNRECOGNISED_CODES: Final = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT, SF_ERR_UNSUPPORTED_ENCODING
_SHORTER_THAN_SAID: Final = re.compile(r"^\s*(?:data|SSND)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)
_STREAMED_SIZES: Final = (0x7FFFFFFF, 0xFFFFFFFF)  # what a recorder writes that cannot know the length


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header says."""

    sample_rate: int
    """Hz."""
    channels: int
    frames: int | None
    """Samples per channel as the header has it; None where it does not say. Only decoding tells the truth."""
    format: str
    """Container and coding, for example FLAC/PCM_16."""

    @property
    def duration_s(self) -> float | None:
        return None if self.frames is None else self.frames / self.sample_rate


class _Reader(soundfile.SoundFile):  # type: ignore[misc]  # it ships no types
    """A SoundFile that does not seek after every read, once `read_on` is set: it goes by `seekable()`."""

    read_on = False

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def seekable(self) -> bool:
        return not self.read_on and bool(super().seekable())


class AudioSource:
    """An open audio file. Get it from `open_source`; close it, or use it as a context manager.

    `info` is what the header says. `frames_decoded` and `warnings` grow while `blocks` runs: after its end,
    `frames_decoded` is the exact length of the source in samples per channel, whatever the header said.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames_decoded = 0
        self._warnings: list[str] = []
        self._reader: _Reader | None = _open_reader(path)
        self._fresh = True
        reader = self._reader
        frames = int(reader.frames)
        self.info = AudioInfo(
            sample_rate=int(reader.samplerate),
            channels=int(reader.channels),
            frames=frames if frames < _UNKNOWN_FRAMES else None,
            format=f"{reader.format}/{reader.subtype}",
        )
        try:
            self._check(reader.extra_info)
        except SourceError:
            self.close()
            raise

    def _check(self, log: str) -> None:
        if self.info.frames == 0:
            raise DamagedSource(f"{self.path}: has an audio header but holds no audio")
        if self.info.sample_rate not in _RATES:
            raise DamagedSource(f"{self.path}: its header gives a sample rate of {self.info.sample_rate} Hz")
        match = _SHORTER_THAN_SAID.search(log)
        if match and (said := int(match[1])) > (there := int(match[2])) and said not in _STREAMED_SIZES:
            self._warn(f"cut off: the header promises {said} bytes of audio, the file holds {there}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the source, each once: damage, a wrong header, samples that are not numbers."""
        return tuple(self._warnings)

    def _warn(self, text: str) -> None:
        if text not in self._warnings:
            self._warnings.append(text)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """Yield the samples from `start_frame` (of the source's rate) to the end, mono float32[n], full scale 1.0.

        Channels are mixed with equal weights. Blocks are `block_s` seconds long, the last one shorter, and each is
        the caller's to keep. One iteration at a time; another one starts anew. Raises DamagedSource when nothing can
        be decoded; damage after that ends the blocks, and `warnings` tells.
        """
        if start_frame < 0 or block_s <= 0:
            raise ValueError(f"start_frame {start_frame} and block_s {block_s} must not be negative")
        reader = self._rewound()
        info = self.info
        size = max(1, min(round(block_s * info.sample_rate), _MAX_BLOCK_VALUES // info.channels))
        skip = self._seek(reader, start_frame)
        self.frames_decoded = start_frame - skip
        reader.read_on = True
        for block in self._mono_blocks(reader, size):
            self.frames_decoded += len(block)
            if skip >= len(block):
                skip -= len(block)
                continue
            yield block[skip:] if skip else block
            skip = 0
        self._check_end()

    def _rewound(self) -> _Reader:
        if self._reader is None:
            raise ValueError(f"{self.path} is closed")
        if not self._fresh:
            self._reader.close()
            self._reader = _open_reader(self.path)
        self._fresh = False
        return self._reader

    def _seek(self, reader: _Reader, start_frame: int) -> int:
        """Go to `start_frame` where a seek is exact. Returns the frames that are left to decode and drop."""
        exact = reader.subtype in _SEEK_EXACT_SUBTYPES and reader.seekable()
        if not start_frame or not exact or (self.info.frames or 0) < start_frame:
            return start_frame
        try:
            reader.seek(start_frame)
        except soundfile.LibsndfileError as exc:
            raise DamagedSource(f"{self.path}: cannot go to sample {start_frame}: {exc.error_string}") from exc
        return 0

    def _mono_blocks(self, reader: _Reader, size: int) -> Iterator[Samples]:
        channels = self.info.channels
        narrow = reader.subtype in _INT16_SUBTYPES.split()
        weight = (1 / 32768 if narrow else 1.0) / channels
        weights = np.full(channels, weight, dtype=np.float32)
        buffer = np.empty((size, channels), dtype=np.int16 if narrow else np.float32)
        scratch = np.empty((size, channels), dtype=np.float32) if narrow and channels > 1 else None
        while True:
            frames = self._read(reader, buffer)
            if not frames:
                return
            read = buffer[:frames]
            block = np.empty(frames, dtype=np.float32)
            if channels == 1:
                np.multiply(read[:, 0], np.float32(weight), out=block)
            else:
                if scratch is not None:
                    scratch[:frames] = read
                    read = scratch[:frames]
                np.dot(read, weights, out=block)
            if reader.subtype in _FLOAT_SUBTYPES:
                self._make_sound(block)
            yield block

    def _read(self, reader: _Reader, buffer: npt.NDArray[Any]) -> int:
        """Fill `buffer`; the frames read, 0 at the end."""
        try:
            return len(reader.read(out=buffer))
        except soundfile.LibsndfileError as exc:
            at_s = self.frames_decoded / self.info.sample_rate
            self._warn(f"damaged at about {at_s:.1f} s, nothing after it could be decoded: {exc.error_string}")
            return 0

    def _make_sound(self, block: Samples) -> None:
        """Replace what is not a number, in place, and keep the rest within bounds; a rare case, checked cheaply."""
        peak = float(max(block.max(), -block.min()))  # NaN is carried through min and max
        if peak <= 1.0:
            return
        if not np.isfinite(peak):
            self._warn("holds samples that are not numbers (NaN or infinite); they are taken as silence")
            np.nan_to_num(block, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
            peak = float(max(block.max(), -block.min()))
        if peak > 1.0:
            self._warn("holds samples louder than full scale; they are clipped")
            np.clip(block, -_LOUDEST, _LOUDEST, out=block)

    def _check_end(self) -> None:
        decoded, info = self.frames_decoded, self.info
        if not decoded:
            reason = f" ({self._warnings[-1]})" if self._warnings else ""
            raise DamagedSource(f"{self.path}: nothing in it could be decoded{reason}")
        if info.frames is not None and decoded < info.frames:
            rate = info.sample_rate
            self._warn(
                f"cut off or damaged: the header promises {info.frames / rate:.1f} s, {decoded / rate:.1f} s came"
            )

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_source(path: Path) -> AudioSource:
    """Open an audio file of any format libsndfile reads.

    Raises SourceNotFound; UnsupportedSource for what libsndfile cannot read, with its reason and the way out;
    DamagedSource for a broken header or a file without audio; SourceError for what cannot be read at all.
    """
    return AudioSource(Path(path))


def _open_reader(path: Path) -> _Reader:
    try:
        if not path.exists():
            raise SourceNotFound(f"{path}: no such file")
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise SourceError(f"{path}: is {kind}; give an audio file")
        with path.open("rb") as file:
            if not file.read(1):
                raise DamagedSource(f"{path}: the file is empty (0 bytes)")
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read: {exc.strerror}") from exc
    try:
        return _Reader(os.fsencode(path))
    except soundfile.LibsndfileError as exc:
        if exc.code in _UNRECOGNISED_CODES:
            raise UnsupportedSource(
                f"{path}: libsndfile cannot read this format ({exc.error_string.strip(' .')}); "
                f'convert it first, for example: ffmpeg -i "{path.name}" -ac 1 "{path.stem}.flac"'
            ) from exc
        raise DamagedSource(f"{path}: cannot be opened as audio: {exc.error_string.strip(' .')}") from exc
    except TypeError as exc:  # python-soundfile's answer to .raw, whose coding nobody knows
        raise UnsupportedSource(
            f"{path}: headerless audio, its rate and coding are not known; convert it first, "
            f'for example: ffmpeg -f s16le -ar 16000 -ac 1 -i "{path.name}" "{path.stem}.flac"'
        ) from exc
