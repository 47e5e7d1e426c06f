"""Opens media containers with FFmpeg and decodes one audio stream. Only this module imports av (PyAV, from the extra
`media`).

FFmpeg receives a file object, not a path, and only the demuxers of `_CONTAINERS` are allowed. Other demuxers
(playlists, scripts) could open further files and network addresses.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

from worker.audio.decoding.container_start import zero_of
from worker.audio.decoding.duplicate_packets import RepeatFilter
from worker.audio.decoding.ffmpeg_length import latest_end_s, seconds_of_tag
from worker.audio.decoding.ffmpeg_tracks import audio_stream, audio_streams, tracks_of
from worker.audio.decoding.libsndfile_faults import FilePart, PartFile
from worker.audio.decoding.media_items import DecodedFrame, LostPacket, OtherStream
from worker.audio.decoding.stream_succession import FirstStream, Succession
from worker.audio.file_formats.mp4 import has_uncommon_edits
from worker.audio.opened_file import SourceFile
from worker.audio.source import AudioInfo
from worker.errors import DamagedSource, UnsupportedSource
from worker.transient_os_errors import raise_shortage, source_error

try:
    import av
except ImportError:  # the extra is not installed
    av = None  # type: ignore[assignment]

_CONTAINERS: Final = (
    "mov,matroska,webm,asf,amr,amrnb,amrwb,aac,ac3,eac3,avi,flv,mpeg,mpegts,wav,aiff,caf,ogg,ape,wv,tta,dts,mpc,mpc8,rm,"
    "dsf,tak,loas,mxf,w64,au,voc,flac,mp3,ircam,nistsphere,iff,gsm,nut,sox,oma,qcp,xwma,gxf,avr,adx,shn,dtshd,truehd,mlp,"
    "act,wtv,wsd,rso,pvf,paf,xa,hca,mmf,svx,aa,lvf,g729,ilbc,sbc,dv,swf"
)
_NO_LENGTH: Final = ("aac", "ac3", "eac3", "dts", "loas", "amr", "amrnb", "amrwb", "gsm", "truehd", "mlp", "sbc")
"""Containers without a header for the whole file. FFmpeg guesses their length."""
_ESTIMATED: Final = frozenset(("mpegts", "mpeg", "mp3", "gxf", "rm", "adx", "ape", "avi", "asf", "wtv", "swf"))
"""Containers whose length FFmpeg estimates from the last timestamps or the bit rate, even if a header declares one."""
_LENGTH_OF_ALL: Final = frozenset(("matroska", "webm", "flv", "nut"))
"""Containers that declare one length for all streams. The video may be longer than the audio."""
_LENGTH_FROM_ZERO: Final = frozenset(("matroska", "webm", "asf"))
"""Containers whose declared length is measured from timestamp 0, not from the start of the first stream."""
_RAW_STREAMS: Final = frozenset(
    ("mp3", "aac", "ac3", "eac3", "dts", "loas", "gsm", "amrnb", "amrwb", "truehd", "mlp", "sbc", "dv")
)
"""Demuxers that FFmpeg often chooses for files that contain no audio."""
_SPARSE_TIMES: Final = ("mpegts", "mpeg")
WITHOUT_EDITS: Final = (
    "its edit list changes the speed or pauses; all of the recording is read as it was before the edits, "
    "so times may differ from those of a player"
)
_RATES: Final = range(1000, 1_000_001)
_MAX_CHANNELS: Final = 64
_MAX_FAULTS: Final = 2000
_CHECKSUMMED: Final = ("tta", "wavpack")
"""Codecs with a checksum in each frame that FFmpeg ignores by default. Without the check, damaged frames decode to
noise or silence without an error. Lossy codecs are not checked, because some encoders write wrong checksums."""
_CHECKED: Final = {"err_detect": "crccheck+explode"}
_LARGE_PROBE: Final = {"probesize": str(64 << 20), "analyzeduration": str(120_000_000)}


class UnknownContainer(UnsupportedSource):
    """A file that FFmpeg cannot open: its container is not supported, or it is damaged."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(text)
        self.reason = reason


class NoDecoder(UnsupportedSource):
    """FFmpeg can open the container, but has no decoder for the codec of its audio."""


class MediaContainer:
    """An open container. Its frames can be read once, from the start."""

    def __init__(
        self,
        path: SourceFile,
        part: FilePart | None = None,
        stream_id: int | None = None,
        zero_s: float | None = None,
        track: int | None = None,
    ) -> None:
        """`part`: the part of the file to read, with its own header, or None for the whole file. `stream_id`: id of the
        stream to read, if known. `zero_s`: the timestamp, in seconds, of position 0, if known. `track`: the audio track
        to read (from 1), or None for the default stream and the streams that continue it.

        Raises UnknownContainer, UnsupportedSource, DamagedSource, NoSuchTrack."""
        self.path = path
        self._part = part or FilePart(0, path.stat().st_size)
        self._stream_id = stream_id
        self._track = track
        self._given_zero_s = zero_s
        self._parallel_ids: frozenset[int] = frozenset()
        # FFmpeg does not get the path, because it would also use the file name extension to detect the format, and the
        # extension may be wrong.
        self._file = PartFile(path, self._part)
        try:
            self.without_edits = self._has_uncommon_edits()
            self._open()
            if self._may_begin_elsewhere:
                self._find_first_stream()
            self.info = self._info(*self._rate_and_channels())
        except BaseException:
            self._file.close()
            raise

    def _has_uncommon_edits(self) -> bool:
        try:
            return has_uncommon_edits(cast(BinaryIO, self._file))
        except OSError as exc:
            raise source_error(exc, str(self.path)) from exc

    def _open(self, probing: dict[str, str] | None = None) -> None:
        if self.without_edits:
            probing = {**(probing or {}), "ignore_editlist": "1"}
        self._container = _container(self.path, self._file, probing)
        self._stream = audio_stream(self.path, self._container, self._stream_id, self._track)
        self._timed, self._zero_s = zero_of(self._container.format.name, self._start_s)
        if self._given_zero_s is not None:
            self._zero_s = self._given_zero_s
        if self._stream.codec_context is not None:
            self._stream.thread_type = "NONE"
            if self._stream.codec_context.name in _CHECKSUMMED:
                self._stream.codec_context.options = _CHECKED

    @property
    def _may_begin_elsewhere(self) -> bool:
        return self._may_change_stream and self._stream_id is None

    @property
    def _may_change_stream(self) -> bool:
        """Whether other streams may continue the stream that is read. A chosen track is read alone: the other streams
        are tracks of their own."""
        return self.is_transport_stream and self._track is None

    def _rate_and_channels(self) -> tuple[int, int]:
        """Return sample rate (Hz) and number of channels.

        If the audio starts late, FFmpeg's normal probe does not reach it, and sometimes not even a longer one. The
        audio is then decoded up to its first frame, and the container is opened again."""
        if not _rate_of(self._stream):
            self._open(_LARGE_PROBE)
        coding = self._stream.codec_context
        if coding is None or coding.sample_rate:
            return _rate_of(self._stream), coding.channels if coding is not None else 0
        frame = next((item.frame for item in self.frames() if isinstance(item, DecodedFrame)), None)
        self._open(_LARGE_PROBE)
        return (frame.sample_rate, frame.layout.nb_channels) if frame is not None else (0, 0)

    @property
    def _start_s(self) -> float:
        return (self._container.start_time or 0) / av.time_base

    @property
    def length_s(self) -> float | None:
        """Length from the start of the timeline to the end of the longest stream, in seconds, as FFmpeg reports it.
        Is None if FFmpeg reports none."""
        duration = self._container.duration
        if not duration:
            return None
        return float(duration / av.time_base) + (0.0 if self._counts_from_zero else self._start_s - self._zero_s)

    @property
    def declared_length_s(self) -> float | None:
        """The value of `length_s` if the container declares it. None if FFmpeg only estimated the length from the last
        timestamps or the bit rate, because an estimated length may be wrong."""
        return None if set(self._container.format.name.split(",")) & _ESTIMATED else self.length_s

    @property
    def _counts_from_zero(self) -> bool:
        return bool(set(self._container.format.name.split(",")) & _LENGTH_FROM_ZERO)

    @property
    def make_joiner(self) -> Callable[..., Any]:
        joiner: Callable[..., Any] = av.AudioResampler
        return joiner

    def time_of(self, item: Any) -> float | None:
        """Return the start of a frame or packet on the timeline of the container, in seconds, or None without a
        timestamp."""
        if not self._timed or item.pts is None or not item.time_base:
            return None
        return float(item.pts * item.time_base) - self._zero_s

    def _time_of_frame(self, frame: Any) -> float | None:
        """Return `time_of` a frame. `time_base` makes a Fraction at each access, which takes 8 µs for a frame."""
        time_s = frame.time if self._timed else None
        return None if time_s is None else time_s - self._zero_s

    def frames(self) -> Iterator[DecodedFrame | LostPacket | OtherStream]:
        """Yield the decoded frames in order, and a `LostPacket` for each packet that cannot be decoded.

        Copies of packets are skipped, because recorders that reconnect send some packets twice. If another stream
        continues this one, the last item is an `OtherStream`."""
        succession = Succession(
            self._stream.index, [stream.index for stream in self._container.streams if stream.id in self._parallel_ids]
        )
        packets = self._packets()
        repeats = RepeatFilter()
        own_index, is_sparse = self._stream.index, self._container.format.name in _SPARSE_TIMES
        faults = 0
        while True:
            try:
                packet = next(packets, None)
            except av.error.EOFError:
                return
            except _faults() as exc:
                _check_shortage(exc, self.path)
                faults += 1
                yield LostPacket(None, 0.0, reason_of_fault(exc))
                if faults > _MAX_FAULTS:
                    return
                packets = self._packets()  # an error ends the earlier iterator
                continue
            if packet is None:
                return
            if packet.stream_index != own_index:
                if (began := succession.other(packet.stream_index, packet.pos)) is not None:
                    yield OtherStream(self._part.start + began, packet.stream.id)
                    return
                continue
            succession.own()
            for new in repeats.push(packet) if self._timed else (packet,):
                yield from self._decoded(new, sparse=is_sparse)

    def _packets(self) -> Iterator[Any]:
        """Return the packets of the stream. If another stream may continue this one, return the packets of all audio
        streams."""
        wanted = [s for s in self._container.streams if s.type == "audio"] if self._may_change_stream else self._stream
        packets: Iterator[Any] = self._container.demux(wanted)
        return packets

    def _decoded(self, packet: Any, *, sparse: bool) -> Sequence[DecodedFrame | LostPacket]:
        """Decode a packet. `sparse`: whether the container is one of `_SPARSE_TIMES`."""
        # In MPEG streams only the first frame of a packet has a timestamp. FFmpeg computes the others from the rate at
        # the start of the stream, which may have changed. Such packets have no byte position.
        is_made_up = sparse and packet.pos is None
        found: list[DecodedFrame | LostPacket] = []
        try:
            for frame in packet.decode():
                found.append(DecodedFrame(frame, None if is_made_up else self._time_of_frame(frame)))
        except av.error.EOFError:
            return found
        except _faults() as exc:
            duration_s = float(packet.duration * packet.time_base) if packet.duration and packet.time_base else 0.0
            position = None if packet.pos is None else self._part.start + packet.pos
            found.append(
                LostPacket(None if is_made_up else self.time_of(packet), duration_s, reason_of_fault(exc), position)
            )
        return found

    @property
    def is_transport_stream(self) -> bool:
        return bool(self._container.format.name == "mpegts")

    def reopened(self, position: int, stream_id: int | None = None) -> MediaContainer:
        """Open a transport stream again at a byte position, to read the rest of it. Times are relative to the start of
        the whole stream. Raises SourceError."""
        if stream_id is None and self._track is not None:
            stream_id = int(self._stream.id)
        return MediaContainer(self.path, FilePart(position, self._part.end), stream_id, self._zero_s, self._track)

    def _find_first_stream(self) -> None:
        """Choose another audio stream if the default stream continues it. Find the streams that are parallel to the
        default stream and begin earlier."""
        audio = [stream for stream in self._container.streams if stream.type == "audio"]
        if len(audio) < 2:
            return
        first = FirstStream(self._stream.id)
        with suppress(*_faults()):
            for packet in self._container.demux(audio):
                # FFmpeg ends each stream with a packet without data.
                if packet.size and first.add(packet.stream.id):
                    break
        self._stream_id, self._parallel_ids = first.continued, first.parallel
        self._open()

    def _info(self, rate: int, channels: int) -> AudioInfo:
        coding, container = self._stream.codec_context, self._container
        if coding is None:
            raise NoDecoder(f"{self.path}: the codec of its audio is unknown")
        name = f"{container.format.name.partition(',')[0].upper()}/{coding.name.upper()}"
        if rate not in _RATES or not 1 <= channels <= _MAX_CHANNELS:
            raise DamagedSource(f"{self.path}: gives {channels} channels at {rate} Hz ({name})")
        end_s = None if container.format.name in _NO_LENGTH else self._end_of(self._stream) or self.length_s
        frames = round(end_s * rate) if end_s and end_s > 0 else None
        return AudioInfo(rate, channels, frames, name, tracks_of(container))

    @property
    def track(self) -> int:
        """The track that is read, from 1."""
        return audio_streams(self._container).index(self._stream) + 1

    @property
    def shorter_by_s(self) -> float:
        """How many seconds before the end of the longest audio track this track ends according to the header; 0.0 if
        unknown."""
        ends = [self._declared_end_of(stream) for stream in audio_streams(self._container)]
        return max(0.0, *(end or 0.0 for end in ends)) - end if (end := self.declared_end_s) else 0.0

    def _end_of(self, stream: Any) -> float | None:
        """Return the end of an audio stream in seconds on the timeline according to the container, or None."""
        if not stream.duration or not stream.time_base:
            return None
        is_later = self._timed and not self._counts_from_zero
        start_s = float((stream.start_time or 0) * stream.time_base) - self._zero_s if is_later else 0.0
        return max(0.0, start_s) + float(stream.duration * stream.time_base)

    @property
    def is_raw_stream(self) -> bool:
        """Whether the file consists of frames without a container. FFmpeg finds such frames by chance in many files
        that are not audio."""
        return self._container.format.name in _RAW_STREAMS

    @property
    def declared_end_s(self) -> float | None:
        """End of the audio according to the header, in seconds. None if the header does not declare an end for this
        stream."""
        return self._declared_end_of(self._stream)

    def _declared_end_of(self, stream: Any) -> float | None:
        names = set(self._container.format.name.split(","))
        if names & _ESTIMATED or names & set(_NO_LENGTH):
            return None
        # FFmpeg takes the length from the last pages. A stream that ends before them gets the length of another one.
        if "ogg" in names and len(audio_streams(self._container)) > 1:
            return None
        if names & _LENGTH_OF_ALL:
            if (tag := seconds_of_tag(stream.metadata.get("DURATION", ""))) is not None:
                return tag
            # If a Matroska header declares no length, FFmpeg guesses one from the bit rate.
            return self.length_s if "flv" in names and len(self._container.streams) == 1 else None
        return self._end_of(stream) or self.length_s

    @property
    def latest_end_s(self) -> float | None:
        """A position, in seconds, before which the audio certainly ends, or None if no such position is known."""
        return latest_end_s(self._container.format.name, self._stream, self._part.end - self._part.start, self._zero_s)

    def close(self) -> None:
        with suppress(av.error.FFmpegError):
            self._container.close()
        self._file.close()


def is_installed() -> bool:
    """Whether PyAV (the extra `media`) is installed."""
    return av is not None


def _container(path: SourceFile, file: PartFile, probing: dict[str, str] | None = None) -> Any:
    options = {"format_whitelist": _CONTAINERS, **(probing or {})}
    file.seek(0)
    try:
        return av.open(file, "r", metadata_errors="ignore", container_options=options)
    except _faults() as exc:
        _check_shortage(exc, path)
        raise UnknownContainer(f"{path}: {reason_of_fault(exc)}", reason_of_fault(exc)) from exc


def _rate_of(stream: Any) -> int:
    return int(stream.codec_context.sample_rate or 0) if stream.codec_context is not None else 0


def _check_shortage(exc: Exception, path: SourceFile) -> None:
    """Raise WorkerShortage if the system failed to read the file. FFmpeg's own errors may have the same error numbers;
    they mean that the file is damaged."""
    if not isinstance(exc, av.error.FFmpegError):
        raise_shortage(exc, str(path))


def _faults() -> tuple[type[Exception], ...]:
    """Return the exceptions that PyAV raises for broken files. PyAV raises OSError and OverflowError for offsets
    outside the file, and IndexError for packets of a stream that did not exist at the start."""
    return av.error.FFmpegError, ValueError, OverflowError, OSError, IndexError


def reason_of_fault(exc: Exception) -> str:
    """Return the text of an exception of PyAV, without codes and addresses.

    FFmpeg's decoders also fail with error numbers of the operating system, such as EPERM, and with numbers that have no
    text. These say nothing about the file. A failure to read the file is an exception of Python instead."""
    if isinstance(exc, av.error.UndefinedError) or (
        isinstance(exc, av.error.FFmpegError) and exc.errno in errno.errorcode and exc.errno != errno.ENOMEM
    ):
        return "the decoder refuses this data"
    return str(getattr(exc, "strerror", "") or exc or type(exc).__name__)
