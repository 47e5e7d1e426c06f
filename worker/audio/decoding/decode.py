"""Opens audio files with libsndfile or FFmpeg, and reads them as mono blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, cast

from worker.audio.audio_tracks import check_track
from worker.audio.decoding.downmix import Pcm16, Samples, lead_frames
from worker.audio.decoding.libsndfile import SndfileStream
from worker.audio.decoding.libsndfile_faults import FilePart, ReadPlan, exact_mp3_part, media_plan, read_plan
from worker.audio.decoding.reader_base import ReaderBase
from worker.audio.decoding.reader_errors import SndfileRefused, no_decoder, refused_by_both, without_media
from worker.audio.decoding.truncation import missing_end
from worker.audio.empty_file_check import check_not_empty
from worker.audio.file_formats.coding_names import seeks_exactly
from worker.audio.file_formats.detect_format import FileFormat, detect_format
from worker.audio.opened_file import SourceFile, as_source_file
from worker.audio.source import Audio, AudioInfo
from worker.errors import DamagedSource, UnsupportedSource

_RATES: Final = range(1000, 1_000_001)
_UNMEASURED: Final = ("MP3/", "NIST/")
"""Formats whose length libsndfile derives from the size of the file, not from a header, so that a missing end is not
noticed."""
_OPUS_RATE: Final = 48000
_SAME_ORDER_CHANNELS: Final = 2
"""Up to this number of channels, both libraries return the channels in the same order."""
_ROUNDING_S: Final = 0.05
"""A file may be shorter than declared by this without being damaged: declared lengths include encoder padding, or are
rounded."""

__all__ = ["AudioInfo", "SndfileSource", "open_source"]


class SndfileSource(ReaderBase):
    """A file that libsndfile reads. `open_source` creates the object. Close it, or use it as a context manager."""

    def __init__(self, path: SourceFile, channel: int | None = None, plan: ReadPlan | None = None) -> None:
        """`channel`: from 0, or None to mix all channels. `plan`: the result of `read_plan`, with at most one part.
        Raises SndfileRefused."""
        super().__init__(path)
        self.channel = channel
        check_not_empty(path)
        plan = plan or read_plan(path)
        for text in plan.warnings:
            self._warn(text)
        self._part: FilePart | None = plan.parts[0] if plan.parts else None
        self._is_scanned = False
        self._stream: SndfileStream | None = self._opened()
        self.info = info = self._stream.info
        if info.frames == 0 or info.sample_rate not in _RATES:
            self.close()
            fault = "contains no audio" if info.frames == 0 else f"gives a sample rate of {info.sample_rate} Hz"
            raise SndfileRefused(path, f"has an audio header, but it {fault}", damaged=True)

    def blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples]:
        """See `ReaderBase.blocks`. In FLAC and MP3, silence replaces damaged audio after the start.
        In other formats, such audio is skipped."""
        return cast(Iterator[Samples], self._blocks(start_frame, block_s, stored=False))

    def stored_blocks(self, start_frame: int = 0, block_s: float = 1.0) -> Iterator[Samples | Pcm16]:
        """Yield the same samples as `blocks`, but as int16 if one channel of a 16-bit codec is read. A block is only
        valid until the next block is read, because that may overwrite it."""
        return self._blocks(start_frame, block_s, stored=True)

    def _blocks(self, start_frame: int, block_s: float, *, stored: bool) -> Iterator[Samples | Pcm16]:
        self._begin(start_frame, block_s)
        if self.info.format.startswith("MP3/") and self._part is None and not self._is_scanned:
            self._is_scanned, self._part = True, exact_mp3_part(self.path)
            if self._part is not None:
                self._close_stream()
        if self._stream is None or self._stream.used:
            self._close_stream()
            self._stream = self._opened()
        self.frames_decoded = self._stream.seek_exactly(
            lead_frames(self.info.channels, self.channel, self.info.sample_rate, start_frame)
        )
        yield from self._counted(self._stream.blocks(block_s, self.channel, stored=stored), start_frame)
        if self._stopped_early:
            yield from self._counted(self._rest(block_s), start_frame)
        self._check_end()

    @property
    def _stopped_early(self) -> bool:
        """Whether libsndfile stopped before the end, so that FFmpeg should read the rest. Always False for FLAC: its
        reader has already replaced the damage by silence, and FFmpeg could not determine the times after the damage."""
        form = self.info.format
        stopped = self._stream is not None and self._stream.failed
        return not form.startswith("FLAC/") and (stopped or (form.startswith("MP3/") and self._is_short))

    @property
    def _is_short(self) -> bool:
        frames, rate = self.info.frames, self.info.sample_rate
        return frames is not None and frames - self.frames_decoded > _ROUNDING_S * rate

    def _rest(self, block_s: float) -> Iterator[Samples]:
        """Yield the audio after the position where libsndfile stopped, read by FFmpeg."""
        from worker.audio.decoding.ffmpeg_container import is_installed  # noqa: PLC0415
        from worker.audio.decoding.ffmpeg_reader import open_media  # noqa: PLC0415  seldom needed, and large

        if not is_installed():
            return
        with suppress(UnsupportedSource, DamagedSource), open_media(self.path, self.channel) as other:
            if other.info.sample_rate != self.info.sample_rate:
                return
            yield from other.blocks(self.frames_decoded, block_s)

    def _opened(self) -> SndfileStream:
        return SndfileStream(self.path, self._part, self._warn, self._undecoded)

    def check_start(self, kind: FileFormat | None) -> None:
        """Check that the start of the file can be decoded. Raises SndfileRefused if it cannot be decoded, or if
        libsndfile chose the format by the file name although the content has another format. `kind`: the format of the
        content."""
        form, _, coding = self.info.format.partition("/")
        named = {"RAW": ("GSM 06.10",), "MP3": ("MP1", "MP2", "MP3")}.get(form)
        if named is not None and kind is not None and kind.container not in named:
            raise SndfileRefused(self.path, "its name has the ending of another format")
        if seeks_exactly(coding):
            return
        is_scanned, self._is_scanned = self._is_scanned, True  # the scan of an MP3 reads the whole file
        try:
            next(self.blocks(block_s=0.1))
        except (StopIteration, DamagedSource) as exc:
            raise SndfileRefused(self.path, str(exc).removeprefix(f"{self.path}: "), damaged=True) from exc
        self._is_scanned, self.frames_decoded = is_scanned, 0

    def _now_s(self) -> float:
        return self.frames_decoded / self.info.sample_rate

    def _check_end(self) -> None:
        if not self.frames_decoded:
            raise self._nothing_decoded()
        if self.info.frames is not None and self._is_short:
            declared_s = self.info.frames / self.info.sample_rate
            self._warn(
                f"cut off or damaged: the header declares {declared_s:.1f} s, {self._now_s():.1f} s could be decoded"
            )
        elif self.info.format.startswith(_UNMEASURED) and (text := missing_end(self.path)):
            self._warn(text)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        self._close_stream()
        super().close()


def open_source(path: SourceFile | Path, channel: int | None = None, track: int | None = None) -> Audio:
    """Open an audio file of any format that libsndfile reads, or FFmpeg if the extra `media` is installed.

    `channel`: the channel to read (from 0, must exist), or None to mix all channels. `track`: the audio track (from 1),
    or None for the default track. The content decides the format, not the name. FFmpeg reads files that libsndfile
    cannot open or would read wrongly, and undamaged Opus of 48 kHz, because it is faster.

    Raises SourceNotFound; UnsupportedSource for formats that neither library reads, with the reason and a remedy;
    DamagedSource for a broken header or a file without audio; SourceError and WorkerShortage for files that cannot be
    read at all.
    """
    path = as_source_file(path)
    check_not_empty(path)
    kind = detect_format(path)
    if kind is not None and kind.misread:
        return _open_with_ffmpeg(path, channel, track, kind, SndfileRefused(path, "libsndfile would read it wrongly"))
    if kind is not None and (kind.estimated or (not kind.native and not read_plan(path).is_joined)):
        with suppress(UnsupportedSource, DamagedSource):  # libsndfile may read more formats than our tables list
            return _open_with_ffmpeg(path, channel, track, kind, SndfileRefused(path, "not for libsndfile"))
    try:
        return _open_with_libsndfile(path, channel, kind, track)
    except SndfileRefused as exc:
        return _open_with_ffmpeg(path, channel, track, kind, exc)


def _open_with_libsndfile(path: SourceFile, channel: int | None, kind: FileFormat | None, track: int | None) -> Audio:
    """Open a file with libsndfile, which reads no tracks. The parts of a joined file may be media containers, which
    FFmpeg reads. Raises NoSuchTrack, and SndfileRefused if libsndfile cannot open the file or decode its start."""
    plan = read_plan(path)
    if plan.is_joined:
        return _open_joined(path, plan, channel, track)
    check_track(track, (), path)
    source = SndfileSource(path, channel, plan)
    try:
        faster = _open_opus(source, plan) if plan.is_undamaged_ogg else None
        if faster is None:
            source.check_start(kind)
    except BaseException:
        source.close()
        raise
    if faster is not None:
        source.close()
        return faster
    return source


def _open_opus(source: SndfileSource, plan: ReadPlan) -> Audio | None:
    """Open the file with FFmpeg if it is Opus of 48 kHz with at most two channels. FFmpeg decodes an hour of stereo in
    14 CPU seconds, libsndfile in 23. Returns None for other files, without PyAV, and if FFmpeg cannot read the file.
    `source`: an undamaged Ogg file, opened with libsndfile; the caller closes it. `plan`: that of the file.

    At lower rates libsndfile is faster: it decodes at the rate of the recording, and FFmpeg always at 48 kHz. With more
    than two channels, the libraries order the channels differently."""
    info = source.info
    if info.format != "OGG/OPUS" or info.sample_rate != _OPUS_RATE or info.channels > _SAME_ORDER_CHANNELS:
        return None
    from worker.audio.decoding.ffmpeg_container import is_installed  # noqa: PLC0415  large, and seldom needed

    if not is_installed():
        return None
    from worker.audio.decoding.ffmpeg_reader import open_media  # noqa: PLC0415

    with suppress(UnsupportedSource, DamagedSource):
        faster = open_media(source.path, source.channel, plan)
        faster.use_info(info)
        return faster
    return None


def _open_joined(path: SourceFile, plan: ReadPlan, channel: int | None, track: int | None) -> Audio:
    from worker.audio.decoding.concatenated_files import ConcatenatedSource  # noqa: PLC0415  seldom needed

    return ConcatenatedSource(path, plan, channel, track)


def _open_with_ffmpeg(
    path: SourceFile, channel: int | None, track: int | None, kind: FileFormat | None, refused: SndfileRefused
) -> Audio:
    from worker.audio.decoding.ffmpeg_container import NoDecoder, UnknownContainer, is_installed  # noqa: PLC0415
    from worker.audio.decoding.ffmpeg_reader import open_media  # noqa: PLC0415  seldom needed, and large

    if not is_installed():
        raise without_media(path, kind, refused) from None
    plan = media_plan(path)
    if plan.is_joined:
        return _open_joined(path, plan, channel, track)
    try:
        source = open_media(path, channel, plan, track)
    except UnknownContainer as exc:
        raise refused_by_both(path, kind, refused, exc, exc.reason) from None
    except NoDecoder:
        raise no_decoder(path, kind) from None
    except UnsupportedSource as exc:
        raise refused_by_both(path, kind, refused, exc, "") from None
    except DamagedSource as exc:
        raise refused_by_both(path, kind, refused, exc, str(exc).removeprefix(f"{path}: ")) from None
    if kind is None and source.is_raw_stream:  # FFmpeg finds frames in noise
        source.close()
        raise refused_by_both(path, kind, refused, refused, "") from None
    return source
