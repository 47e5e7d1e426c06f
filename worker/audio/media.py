"""Opens what libsndfile cannot: m4a and mp4, mkv and webm, wma, amr and more. The only importer of av (PyAV).

PyAV brings the libraries of FFmpeg; it is the extra `media`. A file is given to them as bytes, not by its path, and
only to the containers of `_CONTAINERS`: others (playlists, scripts) may name further files and addresses to be opened.
A start in the middle decodes what comes before and drops it: so it is exact in every coding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final

import numpy as np

from worker.audio.downmix import Downmix, Samples
from worker.audio.packing import Packer
from worker.audio.source import AudioInfo, check_readable
from worker.errors import DamagedSource, UnsupportedSource

try:
    import av
except ImportError:  # the extra is not installed
    av = None  # type: ignore[assignment]

_CONTAINERS: Final = (
    "mov,matroska,webm,asf,amr,amrnb,amrwb,aac,ac3,eac3,avi,flv,mpeg,mpegts,wav,aiff,caf,ogg,ape,wv,tta,dts,mpc,mpc8,rm,"
    "dsf,tak,loas"
)
_NO_LENGTH: Final = ("aac", "ac3", "eac3", "dts", "loas", "amr", "amrnb", "amrwb")
"""Containers without a header for the whole: FFmpeg guesses their length."""
_MAGIC: Final = (b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66", b"FLV\x01", b"#!AMR")
_RATES: Final = range(1000, 1_000_001)
_MAX_CHANNELS: Final = 64
_MAX_WARNINGS: Final = 20
_MOST_FAULTS: Final = 2000
_GAP_S: Final = (0.1, 3600.0)
"""A hole in the times of a container that is filled with silence: the shortest, and the longest that is believed."""
_SHORTER_S: Final = 0.5
"""Header lengths of containers count the encoder's padding: what is missing less than that is not told."""
INSTALL: Final = "pip install 'stt-batch[media]'"


class MediaSource:
    """Open media: an `Audio`. `info` is what the container says; `frames_decoded` and `warnings` grow while `blocks`
    runs. Get it from `open_media`."""

    def __init__(self, path: Path, channel: int | None = None) -> None:
        """Raises UnsupportedSource, DamagedSource, SourceError."""
        self.path = path
        self._channel = channel
        self.frames_decoded = 0
        self._warnings: list[str] = []
        self._closed = False
        check_readable(path)
        self._open: _Opened | None = _Opened(path)
        self.info = self._open.info

    @property
    def warnings(self) -> tuple[str, ...]:
        return tuple(self._warnings)

    def _warn(self, text: str) -> None:
        if text not in self._warnings and len(self._warnings) < _MAX_WARNINGS:
            self._warnings.append(text)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """Mono float32[n] blocks of at most `block_s` seconds from `start_frame` to the end, the caller's to keep.

        Channels are mixed with equal weights, unless it was opened for one; holes in the container's times are filled
        with silence. Raises DamagedSource when nothing can be decoded; damage further on is passed over, and `warnings`
        tells.
        """
        if start_frame < 0 or block_s <= 0:
            raise ValueError(f"start_frame {start_frame} must not be negative, block_s {block_s} must be positive")
        if self._closed:
            raise ValueError(f"{self.path} is closed")
        self.frames_decoded = 0
        if self._open is None:
            self._open = _Opened(self.path)
        opened, self._open = self._open, None
        size, skip = max(1, round(block_s * self.info.sample_rate)), start_frame
        try:
            for block in _regrouped(self._mono(opened), size):
                self.frames_decoded += len(block)
                if skip < len(block):
                    yield block[skip:] if skip else block
                skip = max(0, skip - len(block))
        finally:
            opened.close()
        self._check_end()

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """The same as `blocks`."""
        return self.blocks(start_frame, block_s)

    def _mono(self, opened: _Opened) -> Iterator[Samples]:
        """The decoded signal, in pieces of at most a second or so, with silence where the times have a hole."""
        rate, position = self.info.sample_rate, 0
        packed = Packer(av.AudioResampler)
        mixers: dict[tuple[int, type], Downmix] = {}
        for frame in self._frames(opened):
            if frame.sample_rate != rate:
                self._warn(f"changes its sample rate at {position / rate:.1f} s; nothing after that is used")
                return
            hole = self._hole(opened.start_of(frame), position)
            for done in range(0, hole, rate):
                yield np.zeros(min(rate, hole - done), np.float32)
            position += hole
            samples = packed(frame)
            kind = (samples.shape[1], samples.dtype.type)
            if kind[0] <= (self._channel or 0):
                self._warn(f"has only {kind[0]} channels from {position / rate:.1f} s on; nothing after that is used")
                return
            if kind not in mixers:
                mixers[kind] = Downmix(*kind, self._warn, self._channel)
            position += len(samples)
            yield mixers[kind](samples)

    def _hole(self, start_s: float | None, position: int) -> int:
        """Samples of silence that are missing before a frame which starts at `start_s`."""
        rate, shortest = self.info.sample_rate, _GAP_S[0]
        if start_s is None or start_s - position / rate < shortest:
            return 0
        gap_s = start_s - position / rate
        length_s = self.info.duration_s
        if gap_s > _GAP_S[1] or (length_s is not None and start_s > length_s + 1.0):
            self._warn(f"its times jump from {position / rate:.1f} s to {start_s:.1f} s, which is not believed")
            return 0
        self._warn("has holes in its times; they are filled with silence")
        return round(gap_s * rate)

    def _frames(self, opened: _Opened) -> Iterator[Any]:
        """All frames that can be decoded; what cannot is told."""
        packets = opened.container.demux(opened.stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                yield from packet.decode()
            except av.error.EOFError:
                return
            except _faults() as exc:
                self._warn(f"damaged at about {self.frames_decoded / self.info.sample_rate:.1f} s: {_reason(exc)}")
                if opened.failed_often():
                    return
                packets = opened.container.demux(opened.stream)  # an error ends the one before

    def _check_end(self) -> None:
        if not self.frames_decoded:
            reason = f" ({self._warnings[-1]})" if self._warnings else ""
            raise DamagedSource(f"{self.path}: nothing in it could be decoded{reason}")
        decoded_s, said_s = self.frames_decoded / self.info.sample_rate, self.info.duration_s
        if said_s is not None and decoded_s < said_s - max(_SHORTER_S, said_s * 0.01):
            self._warn(f"cut off or damaged: the header promises {said_s:.1f} s, {decoded_s:.1f} s could be decoded")

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
        self._closed = True

    def __enter__(self) -> MediaSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def open_media(path: Path, because: UnsupportedSource, channel: int | None = None) -> MediaSource:
    """Open what libsndfile refused for the reason `because`; see `open_source`. Raises it again where FFmpeg cannot
    read it either, and says what to install where that is not here; DamagedSource for a broken file."""
    if av is None:
        raise UnsupportedSource(f"{because}; or install what reads it: {INSTALL}") from None
    try:
        return MediaSource(path, channel)
    except _Unknown:
        raise because from None


class _Unknown(UnsupportedSource):
    """Not a container that is read here."""


class _Opened:
    """A container, from its start on, read once."""

    def __init__(self, path: Path) -> None:
        self._failures = 0
        self._file: BinaryIO = path.open("rb")
        try:
            self.container = _container(path, self._file)
            self.stream = _audio_stream(path, self.container)
            self.stream.thread_type = "NONE"
            self.info = _info(path, self.container, self.stream)
            self._start_s = (self.container.start_time or 0) / av.time_base
        except BaseException:
            self._file.close()
            raise

    def start_of(self, frame: Any) -> float | None:
        """The second a frame starts at, by the container's times."""
        return None if frame.time is None else float(frame.time) - self._start_s

    def failed_often(self) -> bool:
        """Whether so much went wrong that there is no use in going on."""
        self._failures += 1
        return self._failures > _MOST_FAULTS

    def close(self) -> None:
        with suppress(av.error.FFmpegError):
            self.container.close()
        self._file.close()


def _container(path: Path, file: BinaryIO) -> Any:
    try:
        return av.open(file, "r", metadata_errors="ignore", container_options={"format_whitelist": _CONTAINERS})
    except (av.error.InvalidDataError, av.error.ArgumentError, av.error.PatchWelcomeError) as exc:
        if not _is_media(file):
            raise _Unknown(f"{path}: {_reason(exc)}") from None
        raise _damaged(path, exc) from exc
    except _faults() as exc:
        raise _damaged(path, exc) from exc


def _is_media(file: BinaryIO) -> bool:
    """Whether it begins as one of these containers does, so that what follows must be broken."""
    file.seek(0)
    start = file.read(16)
    return start[4:8] == b"ftyp" or start.startswith(_MAGIC)


def _damaged(path: Path, exc: Exception) -> DamagedSource:
    return DamagedSource(f"{path}: is cut off or damaged: it cannot be opened as audio ({_reason(exc)})")


def _info(path: Path, container: Any, stream: Any) -> AudioInfo:
    coding = stream.codec_context
    if coding is None:
        raise UnsupportedSource(f"{path}: its audio has a coding that is not known")
    rate, channels = coding.sample_rate or 0, coding.channels or 0
    name = f"{container.format.name.partition(',')[0].upper()}/{coding.name.upper()}"
    if rate not in _RATES or not 1 <= channels <= _MAX_CHANNELS:
        raise DamagedSource(f"{path}: gives {channels} channels at {rate} Hz ({name})")
    frames = None
    if container.format.name in _NO_LENGTH:
        pass
    elif stream.duration and stream.time_base:
        frames = round(stream.duration * stream.time_base * rate)
    elif container.duration:
        frames = round(container.duration / av.time_base * rate)
    return AudioInfo(rate, channels, frames if frames and frames > 0 else None, name)


def _audio_stream(path: Path, container: Any) -> Any:
    stream = container.streams.best("audio")
    if stream is None:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise UnsupportedSource(f"{path}: has no audio, only {kinds}")
    return stream


def _regrouped(pieces: Iterator[Samples], size: int) -> Iterator[Samples]:
    """The same signal in arrays of `size` samples, the last one shorter."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        if count >= size:
            signal = np.concatenate(held)
            whole = count - count % size
            for at in range(0, whole, size):
                yield signal[at : at + size].copy()
            held, count = [signal[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def _faults() -> tuple[type[Exception], ...]:
    """What PyAV raises for broken files: OSError and OverflowError where a file says that it goes on elsewhere,
    IndexError for packets of a stream that was not there at the start."""
    return av.error.FFmpegError, ValueError, OverflowError, OSError, IndexError


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "strerror", "") or exc or type(exc).__name__)
