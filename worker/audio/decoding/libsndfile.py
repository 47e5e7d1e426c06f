"""Reads one part of a file with libsndfile. Only this module imports soundfile.

Measured with libsndfile 1.2.2 and python-soundfile 0.14:
- python-soundfile seeks after every read, which for FLAC costs more than decoding. `_Reader` avoids these seeks.
- 16-bit codecs are read as int16, which is up to seven times cheaper than float32.
- libsndfile never reads beyond the length that it found at the start, see `worker.audio.decoding.libsndfile_faults`.
"""

from __future__ import annotations

import io
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
import soundfile

from worker.audio.decoding.buffer_pool import scratch
from worker.audio.decoding.decoder_notes import without_decoder_notes
from worker.audio.decoding.downmix import Pcm16, Samples, to_mono
from worker.audio.decoding.libsndfile_faults import DAMAGED_FRAMES, FilePart, PartFile
from worker.audio.decoding.reader_errors import SndfileRefused
from worker.audio.file_formats.coding_names import fits_int16, length_is_estimated, missing_bytes, seeks_exactly
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo, sndfile_reason
from worker.audio.undecoded_ranges import UndecodedLog
from worker.errors import SttError
from worker.transient_os_errors import source_error

_UNKNOWN_FRAMES: Final = 1 << 62  # libsndfile reports 2**63 - 1 if a header declares no length
_MAX_BLOCK_VALUES: Final = 1 << 20
_MP3_RETRIES: Final = 64  # each retry skips a kilobyte of data that is not MP3
_FLAC_GAPS_S: Final = tuple(0.1 * 2**k for k in range(10))
_FLAC_STEP: Final = 256
_FLAC_HALVINGS: Final = 5
_RAW_OPTIONS: Final = "-f s16le -ar 16000 -ac 1 "  # an example: the user must know these values for headerless audio
_UNRECOGNISED_CODES: Final = (1, 4)  # SF_ERR_UNRECOGNISED_FORMAT, SF_ERR_UNSUPPORTED_ENCODING
_SYSTEM_CODE: Final = 2  # SF_ERR_SYSTEM
_PROBE_BYTES: Final = 1 << 20
# libsndfile recognizes files without a header by the extension of their path. It receives a descriptor, which has no
# path, so these codecs are chosen here.
_TELEPHONE: Final = {".gsm": "GSM610", ".vox": "VOX_ADPCM"}
_NO_HEADER: Final = (".raw", ".au", ".snd")


class _Reader(soundfile.SoundFile):  # type: ignore[misc]  # it ships no types
    """A SoundFile whose `seekable()` returns False, so that python-soundfile does not seek after each read.

    Notes that libmpg123 prints about damage during its calls are dropped, see `decoder_notes`. `close` may be called
    while another thread reads: `close` waits until that read has ended. The next read then raises
    SoundFileRuntimeError.
    """

    _reads_forward = False

    def __init__(self, *args: Any, **options: Any) -> None:
        # A cancelled job closes its files while a thread still decodes. Without the lock, libsndfile would read memory
        # that `sf_close` has freed, and the whole worker would end with SIGSEGV.
        self._native = threading.RLock()
        with without_decoder_notes():
            super().__init__(*args, **options)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def seekable(self) -> bool:
        return not self._reads_forward and bool(super().seekable())

    def seek(self, frames: int, whence: int = soundfile.SEEK_SET) -> int:
        with self._native, without_decoder_notes():
            return int(super().seek(frames, whence))

    def read_forward_into(self, buffer: npt.NDArray[Any]) -> int:
        """Fill `buffer` with the next frames, and return their number. Takes a third less time than
        `read(out=buffer)`."""
        self._reads_forward = True
        with self._native, without_decoder_notes():
            return int(self.buffer_read_into(buffer, dtype="int16" if buffer.dtype == np.int16 else "float32"))

    def close(self) -> None:
        with self._native:
            super().close()


class _ErrorRecordingFile(PartFile):
    """A `PartFile` that stores read errors. libsndfile calls this object from C code, which treats an exception like
    the end of the file."""

    failure: OSError | None = None

    def read(self, count: int) -> bytes:
        try:
            return super().read(count)
        except OSError as exc:
            self.failure = exc
            return b""


class SndfileStream:
    """Reads one part of a source once, from start to end. Skips damage if the codec allows it."""

    def __init__(
        self,
        path: SourceFile,
        part: FilePart | None,
        warn: Callable[[str], None],
        undecoded: UndecodedLog,
        before_s: float = 0.0,
    ) -> None:
        """`part`: the part to read, or None for the whole file. `before_s`: seconds of the source before this part, for
        warnings. Raises SndfileRefused."""
        self.used = False
        self._path, self._part, self._warn, self._undecoded, self._before_s = path, part, warn, undecoded, before_s
        self._file: BinaryIO | _ErrorRecordingFile | None = None
        self._reader = reader = self._open()
        # Only FLAC parts have a first sample other than 0. Its positions are those of `info`, plus this number.
        self._first = part.first_sample if part is not None else 0
        frames = int(reader.frames)
        form = f"{reader.format}/{reader.subtype}"
        is_known = frames < _UNKNOWN_FRAMES and not length_is_estimated(reader.format, reader.subtype)
        known = max(0, frames - self._first) if is_known else None
        self.info = AudioInfo(int(reader.samplerate), int(reader.channels), known, form)
        if missing := missing_bytes(reader.extra_info):
            warn(f"cut off: the header declares {missing[0]} bytes of audio, the file has {missing[1]}")
        self._at, self._failed, self._fault = 0, False, ""
        self._lost = deque(part.lost if part is not None else ())
        self._is_mp3, self._is_flac = reader.format == "MP3", reader.format == "FLAC"

    def _open(self) -> _Reader:
        self._file = self._readable()
        try:
            reader = self._reader_of(self._file)
            if isinstance(self._file, io.FileIO):
                self._file.close()  # the reader has its own descriptor
            return reader
        except SttError:
            self._file.close()
            raise
        except soundfile.LibsndfileError as exc:
            self._file.close()
            self._check_shortage(exc)
            damaged = exc.code not in _UNRECOGNISED_CODES
            if not damaged and self._path.suffix.lower() in _NO_HEADER:
                reason = "it has no header, so its rate and codec are not known"
                raise SndfileRefused(self._path, reason, input_options=_RAW_OPTIONS) from exc
            raise SndfileRefused(self._path, sndfile_reason(exc.error_string), damaged=damaged) from exc

    def _readable(self) -> BinaryIO | _ErrorRecordingFile:
        if self._part is not None:
            return _ErrorRecordingFile(self._path, self._part)
        raw = self._path.open(buffering=0)
        if isinstance(raw, io.FileIO):
            return raw
        raw.close()  # libsndfile needs a descriptor with its own position, or a file object
        return _ErrorRecordingFile(self._path, FilePart(0, self._path.stat().st_size))

    def _reader_of(self, source: BinaryIO | _ErrorRecordingFile) -> _Reader:
        try:
            return _Reader(self._file_or_descriptor(source), closefd=True)
        except soundfile.LibsndfileError as exc:
            coding = _TELEPHONE.get(self._path.suffix.lower())
            if coding is None or exc.code not in _UNRECOGNISED_CODES or self._failure() is not None:
                raise
            source.seek(0)
            file = self._file_or_descriptor(source)
            return _Reader(file, samplerate=8000, channels=1, format="RAW", subtype=coding, closefd=True)

    def _file_or_descriptor(self, source: BinaryIO | _ErrorRecordingFile) -> int | _ErrorRecordingFile:
        """Return `source` if it is an object that libsndfile reads through, else a new descriptor of its file.

        libsndfile 1.2.0 closes the descriptor of a file that it refuses, even with `closefd=False`, so a shared
        descriptor would be closed twice."""
        if isinstance(source, _ErrorRecordingFile):
            return source
        try:
            return os.dup(source.fileno())
        except OSError as exc:
            raise source_error(exc, str(self._path)) from exc

    def _failure(self) -> OSError | None:
        return self._file.failure if isinstance(self._file, _ErrorRecordingFile) else None

    def _check_shortage(self, exc: Exception | None = None) -> None:
        """Raise WorkerShortage or SourceError if the system failed to read the file, which is not damage."""
        if (failure := self._failure()) is not None:
            raise source_error(failure, str(self._path)) from failure
        if isinstance(exc, soundfile.LibsndfileError) and exc.code == _SYSTEM_CODE:
            self._probe()

    def _probe(self) -> None:
        """Read the whole file to detect a failing disk. libsndfile reports "System error" for both a failing disk and
        invalid content."""
        try:
            with self._path.open(buffering=0) as file:
                while file.read(_PROBE_BYTES):
                    pass
        except OSError as exc:
            raise source_error(exc, str(self._path)) from exc

    def seek_exactly(self, frame: int) -> int:
        """Seek to `frame` if seeking is exact in this codec. Returns the frame that is read next."""
        if frame and seeks_exactly(self._reader.subtype) and self._reader.seekable():
            try:
                self._at = self._seek(min(frame, self.info.frames or frame))
            except soundfile.LibsndfileError:  # wrong header, or damage before the position: decode up to it instead
                self._reopen()
        return self._at

    def _seek(self, frame: int) -> int:
        return self._reader.seek(frame + self._first) - self._first

    def _reopen(self) -> None:
        self.close()
        self._reader = self._open()

    def blocks(self, block_s: float, channel: int | None, *, stored: bool) -> Iterator[Samples | Pcm16]:
        """Yield mono blocks up to the end; may be called once. `stored`: yield a single 16-bit channel as int16."""
        self.used = True
        info = self.info
        size = max(1, min(round(block_s * info.sample_rate), _MAX_BLOCK_VALUES // info.channels))
        dtype: type[np.int16] | type[np.float32] = np.int16 if fits_int16(self._reader.subtype) else np.float32
        mix = to_mono(
            info.channels, dtype, self._warn, channel, rate=info.sample_rate, first_s=self._now_s(), stored=stored
        )
        while True:
            # If the blocks are views of their buffer, each read gets a new buffer, which is freed with its blocks.
            own = nullcontext(np.empty((size, info.channels), dtype)) if mix.shares_buffer else None
            with own or scratch(size, info.channels, dtype) as buffer:
                own = None  # it refers to the buffer
                silent, frames = 0, 0 if self._failed and self._is_flac else self._read(buffer)
                # In FLAC, no audio follows an end without a fault. If frames are missing, a search by their numbers
                # would find audio that was read already.
                is_early = self._is_mp3 and self._at < (info.frames or 0)
                if not frames and (self._failed or is_early):
                    silent, frames = self._skip_damage(buffer)
                if not frames:
                    break
                blocks = []
                for done in range(0, silent, size):
                    blocks += mix.push(np.zeros((min(size, silent - done), info.channels), dtype=dtype))
                blocks += mix.push(buffer[:frames])
            self._at += silent + frames
            self._report_lost()
            del buffer
            blocks.reverse()
            while blocks:
                yield blocks.pop()
        yield from mix.flush()

    def _report_lost(self) -> None:
        """Report the lost ranges of the part that begin before the current position."""
        while self._lost and self._lost[0][0] * self.info.sample_rate < self._at:
            start_s, end_s = (self._before_s + time_s for time_s in self._lost.popleft())
            self._undecoded.add(start_s, end_s, DAMAGED_FRAMES)
            self._warn(f"damaged at about {start_s:.1f} s: {DAMAGED_FRAMES}")

    def _read(self, buffer: npt.NDArray[Any]) -> int:
        """Fill `buffer`. Returns the number of frames read; 0 at the end of the file and at damage."""
        if self._is_mp3:
            buffer[:, 0] = np.nan  # NaN marks the samples that are not decoded
        try:
            frames = self._reader.read_forward_into(buffer)
        except soundfile.LibsndfileError as exc:
            self._check_shortage(exc)
            self._fault = exc.error_string.strip(" .")
            self._warn(f"damaged at about {self._now_s():.1f} s: {self._fault}")
            self._failed = True
            if self._is_mp3:  # libsndfile does not report how many samples it decoded before the fault
                return int(np.count_nonzero(~np.isnan(buffer[:, 0])))
            if self._is_flac:  # the decoder would continue after the fault, without a gap for the lost audio
                return self._read_up_to_the_fault(buffer)
            return min(max(0, int(self._reader.tell()) - self._at), len(buffer))
        self._check_shortage()
        self._failed = self._failed and not frames
        return frames

    def _read_up_to_the_fault(self, buffer: npt.NDArray[Any]) -> int:
        """Fill `buffer` again in small steps. Returns the number of frames before the step that fails."""
        self._reopen()
        filled = 0
        try:
            self._seek(self._at)
            while frames := self._reader.read_forward_into(buffer[filled : filled + _FLAC_STEP]):
                filled += frames
        except soundfile.LibsndfileError:
            pass  # this step contains the fault
        return filled

    def _skip_damage(self, buffer: npt.NDArray[Any]) -> tuple[int, int]:
        """Find the next audio after damage, and read that audio into `buffer`. Returns the number of silent frames that
        replace the lost audio, and the number of frames read. Returns (0, 0) if no audio follows."""
        if self._is_mp3:  # each call searches further; silence already replaces lost frames, see `FilePart.lost`
            for _ in range(_MP3_RETRIES):
                if frames := self._read(buffer):
                    return 0, frames
        elif self._is_flac:  # the decoder cannot pass the fault, but a new one can seek past it
            gap, frames = self._flac_gap(buffer)
            if frames:
                self._failed = False
                self._undecoded.add(self._now_s(), self._now_s() + gap / self.info.sample_rate, self._fault)
            return gap, frames
        return 0, 0

    def _flac_gap(self, buffer: npt.NDArray[Any]) -> tuple[int, int]:
        """Return the number of samples to skip, and the number of frames that were read after them. Returns (0, 0) if
        the damage extends to the end of the file.

        The length of the gap is doubled until a read after it succeeds. Then bisection reduces the gap to about the
        length of the damage."""
        too_short = 0
        for gap_s in _FLAC_GAPS_S:
            gap = round(gap_s * self.info.sample_rate)
            if self.info.frames is not None and self._at + gap >= self.info.frames:
                break
            if not (frames := self._read_after(self._at + gap, buffer)):
                too_short = gap
                continue
            for _ in range(_FLAC_HALVINGS):
                middle = (too_short + gap) // 2
                if self._read_after(self._at + middle, buffer):
                    gap = middle
                else:
                    too_short = middle
            frames = self._read_after(self._at + gap, buffer)
            return (gap, frames) if frames else (0, 0)
        return 0, 0

    def _read_after(self, frame: int, buffer: npt.NDArray[Any]) -> int:
        self._reopen()
        try:
            self._seek(frame)
            return self._reader.read_forward_into(buffer)
        except soundfile.LibsndfileError:
            return 0  # still within the damage; the caller tries a later position

    @property
    def failed(self) -> bool:
        """Whether the last read found damage after which no audio could be read."""
        return self._failed

    def _now_s(self) -> float:
        return self._before_s + self._at / self.info.sample_rate

    def close(self) -> None:
        self._reader.close()
        if self._file is not None:
            self._file.close()
            self._file = None
