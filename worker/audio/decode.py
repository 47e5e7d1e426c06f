"""Opens an audio file and yields its samples as mono blocks. The only importer of soundfile (libsndfile).

What libsndfile 1.2.2 and python-soundfile 0.14 do, as measured: python-soundfile seeks after every read, which for
FLAC costs more than the decoding, so `_Reader` reads on without; 16-bit codings are read as int16, up to seven times
cheaper than as float32; libsndfile never reads beyond the length it found at the start, see `worker.audio.parts`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import soundfile

from worker.audio.codings import fits_int16, missing_bytes, seeks_exactly
from worker.audio.downmix import Downmix, Pcm16, Samples, to_mono
from worker.audio.parts import Part, PartFile, plan_of
from worker.audio.scratch import scratch
from worker.audio.source import Audio, AudioInfo, check_readable, reason_of, unsupported
from worker.audio.undecoded import Undecoded, UndecodedLog
from worker.errors import DamagedSource, SourceError, UnsupportedSource

_UNKNOWN_FRAMES: Final = 1 << 62  # libsndfile gives 2**63 - 1 where a header names no length
_MAX_BLOCK_VALUES: Final = 1 << 20
_RATES: Final = range(1000, 1_000_001)
_MAX_WARNINGS: Final = 20
_MP3_RETRIES: Final = 64  # each passes over a kilobyte of what is not MP3
_FLAC_GAPS_S: Final = tuple(0.1 * 2**k for k in range(10))
_RAW_OPTIONS: Final = "-f s16le -ar 16000 -ac 1 "  # an example of what a person must know of headerless audio
_UNRECOGNISED_CODES: Final = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT, SF_ERR_UNSUPPORTED_ENCODING

__all__ = ["AudioInfo", "AudioSource", "open_source"]


class AudioSource:
    """An open audio file. Get it from `open_source`; close it, or use it as a context manager.

    `info` is what the header says. `frames_decoded` and `warnings` grow while `blocks` runs: after its end,
    `frames_decoded` is the exact length of the source in samples per channel, whatever the header said.
    """

    def __init__(self, path: Path, channel: int | None = None) -> None:
        self.path = path
        self.frames_decoded = 0
        self._channel = channel
        self._warnings: list[str] = []
        self._undecoded = UndecodedLog()
        check_readable(path)
        plan = plan_of(path)
        for text in plan.warnings:
            self._warn(text)
        self._parts: tuple[Part | None, ...] = plan.parts or (None,)
        self._closed = False
        self._stream: _Stream | None = _Stream(path, self._parts[0], self._warn)
        info = self._stream.info
        self.info = info if len(self._parts) == 1 else AudioInfo(info.sample_rate, info.channels, None, info.format)
        if info.frames == 0 or info.sample_rate not in _RATES:
            self.close()
            fault = "holds no audio" if info.frames == 0 else f"gives a sample rate of {info.sample_rate} Hz"
            raise DamagedSource(f"{path}: has an audio header, but it {fault}")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know of the source, each once: damage, a wrong header, samples that are not numbers."""
        return tuple(self._warnings)

    @property
    def undecoded(self) -> tuple[Undecoded, ...]:
        """Stretches of known length that could not be decoded, as far as it was read."""
        return self._undecoded.stretches

    def _warn(self, text: str) -> None:
        if text not in self._warnings and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(text)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """Yield the samples from `start_frame` (of the source's rate) to the end, mono float32[n], full scale 1.0.

        Channels are mixed with equal weights, unless it was opened for one. Blocks are at most `block_s` seconds long,
        the caller's to keep. One iteration at a time; another one starts anew. Raises DamagedSource when nothing can be
        decoded; damage further on is passed over, in FLAC with silence in its place, and `warnings` tells.
        """
        return cast(Iterator[Samples], self._blocks(start_frame, block_s, stored=False))

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples | Pcm16]:
        """The same, but int16 where 16 bits of one channel are wanted. The next block may overwrite the last one."""
        return self._blocks(start_frame, block_s, stored=True)

    def _blocks(self, start_frame: int, block_s: float, *, stored: bool) -> Iterator[Samples | Pcm16]:
        if start_frame < 0 or block_s <= 0:
            raise ValueError(f"start_frame {start_frame} must not be negative, block_s {block_s} must be positive")
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        self.frames_decoded = 0
        skip = start_frame
        for number in range(len(self._parts)):
            stream = self._open_part(number)
            if stream is None:
                break
            if number == 0:
                self.frames_decoded = stream.seek_exactly(start_frame)
                skip -= self.frames_decoded
            for block in stream.blocks(block_s, self._channel, stored=stored):
                self.frames_decoded += len(block)
                if skip >= len(block):
                    skip -= len(block)
                    continue
                yield block[skip:] if skip else block
                skip = 0
        self._check_end()

    def _open_part(self, number: int) -> _Stream | None:
        """The stream at the start of a part; None, with a warning, where a further part does not fit the first."""
        if number or self._stream is None or self._stream.used:
            self._close_stream()
            try:
                self._stream = _Stream(self.path, self._parts[number], self._warn, self.frames_decoded)
            except SourceError as exc:
                if number == 0:
                    raise
                self._warn(f"nothing after {self._now_s():.1f} s could be decoded: {exc}")
                return None
        found = self._stream.info
        if (found.sample_rate, found.channels) != (self.info.sample_rate, self.info.channels):
            self._warn(f"changes its sample rate or channels at {self._now_s():.1f} s; nothing after that is used")
            return None
        return self._stream

    def _now_s(self) -> float:
        return self.frames_decoded / self.info.sample_rate

    def _check_end(self) -> None:
        if not self.frames_decoded:
            reason = f" ({self._warnings[-1]})" if self._warnings else ""
            raise DamagedSource(f"{self.path}: nothing in it could be decoded{reason}")
        if self.info.frames is not None and self.frames_decoded < self.info.frames:
            said_s = self.info.frames / self.info.sample_rate
            self._warn(
                f"cut off or damaged: the header promises {said_s:.1f} s, {self._now_s():.1f} s could be decoded"
            )

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        self._close_stream()
        self._closed = True

    def __enter__(self) -> AudioSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_source(path: Path, channel: int | None = None) -> Audio:
    """Open an audio file of any format that libsndfile reads, or FFmpeg where the extra `media` is installed, to read
    all channels mixed, or only `channel` (from 0; the caller knows that there is one).

    Raises SourceNotFound; UnsupportedSource for what neither can read, with the reason and the way out; DamagedSource
    for a broken header or a file without audio; SourceError for what cannot be read at all.
    """
    try:
        return AudioSource(Path(path), channel)
    except UnsupportedSource as exc:
        from worker.audio.media import open_media  # noqa: PLC0415  seldom needed, and large

        return open_media(Path(path), exc, channel)


class _Reader(soundfile.SoundFile):  # type: ignore[misc]  # it ships no types
    """A SoundFile that does not seek after every read, once it was read on: it goes by `seekable()`."""

    _reads_on = False

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def seekable(self) -> bool:
        return not self._reads_on and bool(super().seekable())

    def read_on_into(self, buffer: npt.NDArray[Any]) -> int:
        """Fill `buffer` with what comes next; returns the frames read. A third cheaper than `read(out=buffer)`."""
        self._reads_on = True
        return int(self.buffer_read_into(buffer, dtype="int16" if buffer.dtype == np.int16 else "float32"))


class _Stream:
    """One part of a source, read forward once. Damage is passed over where the coding lets one."""

    def __init__(self, path: Path, part: Part | None, warn: Callable[[str], None], before: int = 0) -> None:
        """`before`: frames of the source before this part. Raises UnsupportedSource or DamagedSource."""
        self.used = False
        self._path, self._part, self._warn, self._before = path, part, warn, before
        self._file: PartFile | None = None
        self._reader = reader = self._open()
        frames = int(reader.frames)
        known, form = frames if frames < _UNKNOWN_FRAMES else None, f"{reader.format}/{reader.subtype}"
        if form == "RAW/ULAW":  # what libsndfile takes everything for that is named .au or .snd and has no header
            raise unsupported(self._path, "it has no header, so its rate and coding are not known", _RAW_OPTIONS)
        self.info = AudioInfo(int(reader.samplerate), int(reader.channels), known, form)
        if missing := missing_bytes(reader.extra_info):
            warn(f"cut off: the header promises {missing[0]} bytes of audio, the file holds {missing[1]}")
        self._at, self._failed = 0, False
        self._is_mp3 = reader.format == "MP3"

    def _open(self) -> _Reader:
        try:
            if self._part is None:
                return _Reader(os.fsencode(self._path))
            self._file = PartFile(self._path, self._part)
            return _Reader(self._file)
        except soundfile.LibsndfileError as exc:
            reason = reason_of(exc.error_string)
            if exc.code in _UNRECOGNISED_CODES:
                raise unsupported(self._path, f"libsndfile cannot read this format ({reason})") from exc
            raise DamagedSource(f"{self._path}: cannot be opened as audio: {reason}") from exc
        except TypeError as exc:  # python-soundfile's answer to .raw
            raise unsupported(self._path, "headerless audio, its rate and coding are not known", _RAW_OPTIONS) from exc

    def seek_exactly(self, frame: int) -> int:
        """Go to `frame` if a seek is exact in this coding. Returns the frame that will be read next."""
        if frame and seeks_exactly(self._reader.subtype) and self._reader.seekable():
            try:
                self._at = int(self._reader.seek(min(frame, self.info.frames or frame)))
            except soundfile.LibsndfileError:  # the header lies, or damage on the way: decode up to there instead
                self._reopen()
        return self._at

    def _reopen(self) -> None:
        self.close()
        self._reader = self._open()

    def blocks(self, block_s: float, channel: int | None, *, stored: bool) -> Iterator[Samples | Pcm16]:
        """Mono blocks up to the end, once. `stored`: one channel of 16 bits as it is."""
        self.used = True
        info = self.info
        size = max(1, min(round(block_s * info.sample_rate), _MAX_BLOCK_VALUES // info.channels))
        dtype: type[np.int16] | type[np.float32] = np.int16 if fits_int16(self._reader.subtype) else np.float32
        mix = to_mono(info.channels, dtype, self._warn, channel, stored=stored)
        own = None if isinstance(mix, Downmix) else np.empty((size, info.channels), dtype=dtype)
        while True:
            with scratch(size, info.channels, dtype) if own is None else nullcontext(own) as buffer:
                silent, frames = 0, self._read(buffer)
                if not frames and (self._failed or self._at < (info.frames or 0)):
                    silent, frames = self._pass_over(buffer)
                if not frames:
                    return
                block = mix(buffer[:frames])
            self._at += silent + frames
            for done in range(0, silent, size):
                yield mix(np.zeros((min(size, silent - done), info.channels), dtype=dtype))
            yield block

    def _read(self, buffer: npt.NDArray[Any]) -> int:
        """Fill `buffer`. Returns the frames read, 0 at the end and at damage."""
        if self._is_mp3:
            buffer[:, 0] = np.nan  # where it stays, nothing was decoded
        try:
            frames = self._reader.read_on_into(buffer)
        except soundfile.LibsndfileError as exc:
            at_s = (self._before + self._at) / self.info.sample_rate
            self._warn(f"damaged at about {at_s:.1f} s: {exc.error_string.strip(' .')}")
            self._failed = True
            if self._is_mp3:  # libsndfile does not count what the decoder gave before the fault
                return int(np.count_nonzero(~np.isnan(buffer[:, 0])))
            return min(max(0, int(self._reader.tell()) - self._at), len(buffer))
        self._failed = self._failed and not frames
        return frames

    def _pass_over(self, buffer: npt.NDArray[Any]) -> tuple[int, int]:
        """Read on behind damage. Returns the silent frames to put in place of what was lost, and the frames that are
        in `buffer` now; (0, 0) where nothing follows."""
        if self._is_mp3:  # its decoder searches on with every call; how much was lost is not known
            for _ in range(_MP3_RETRIES):
                if frames := self._read(buffer):
                    return 0, frames
        elif self._reader.format == "FLAC":  # its decoder stays at the fault; a new one can be sent behind it
            for gap_s in _FLAC_GAPS_S:
                gap = round(gap_s * self.info.sample_rate)
                if self.info.frames is not None and self._at + gap >= self.info.frames:
                    break
                if frames := self._read_behind(self._at + gap, buffer):
                    return gap, frames
        return 0, 0

    def _read_behind(self, frame: int, buffer: npt.NDArray[Any]) -> int:
        self._reopen()
        try:
            self._reader.seek(frame)
            return self._reader.read_on_into(buffer)
        except soundfile.LibsndfileError:
            return 0  # still within the damage; the caller tries further on

    def close(self) -> None:
        self._reader.close()
        if self._file is not None:
            self._file.close()
            self._file = None
