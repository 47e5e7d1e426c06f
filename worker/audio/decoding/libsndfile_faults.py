"""Finds files that libsndfile or FFmpeg would read wrongly, and plans how to read them: in parts, or with corrected
headers.

Faults of libsndfile 1.2.2, all without an error message:
- MP3 without a length tag: libsndfile estimates the length from the first frames, and may miss half of a variable-rate
  file.
- Joined MP3 or Ogg files: libsndfile reads only the first file.
- WAV whose recorder never wrote the size: libsndfile reads no audio. If the declared size is too small, it stops at
  that size.
- CAF of unknown length: libsndfile refuses the file.
- W64: libsndfile reads the chunks after the audio as audio.
- Ogg that is cut off: libsndfile reports no damage.
- MP3 with damaged frames: libsndfile continues after them without a gap.
- FLAC that was cut or joined without decoding: libsndfile takes the frame numbers for positions.
- Ogg pages that a file contains twice: libsndfile reads both.
"""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import BinaryIO, Final, cast

from worker.audio.decoding.truncation import missing_end
from worker.audio.file_formats import appended_files, flac, mp3, ogg
from worker.audio.file_formats.aiff import read_aiff
from worker.audio.file_formats.au import read_au
from worker.audio.file_formats.caf import read_caf
from worker.audio.file_formats.data_extent import LONGER_THAN_DECLARED, LocatedAudio
from worker.audio.file_formats.mp3_recording import Mp3Recording
from worker.audio.file_formats.mp3_scan import Mp3Scanner
from worker.audio.file_formats.raw_stream_gaps import raw_gaps
from worker.audio.file_formats.wav import mp3_in_wav, read_riff
from worker.audio.file_formats.wavpack_gaps import wavpack_gaps
from worker.audio.opened_file import SourceFile
from worker.audio.undecoded_ranges import MIN_UNDECODED_S
from worker.transient_os_errors import source_error

_START_BYTES: Final = 64
DAMAGED_FRAMES: Final = "damaged frames"
_RAW_FORM: Final = "raw stream"
_SIZED: Final = (b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff", b"FORM", b".snd", b"dns.", b"caff")


@dataclass(frozen=True, slots=True)
class FilePart:
    """A part of a file that is read like a separate file: first `head`, then the bytes `start` to `end` of the file."""

    start: int
    end: int
    head: bytes = b""
    patches: tuple[tuple[int, bytes], ...] = ()
    """(offset, bytes): the bytes replace those of the file at this offset. Sorted, without overlaps."""
    shifts: tuple[tuple[float, float, str], ...] = ()
    """(position, shift, damage): from second `position` of the decoded part on, timestamps are `shift` seconds later
    than the samples. `damage`: the reason if audio was lost there, else empty. There are no shifts if timestamps and
    samples agree."""
    lost: tuple[tuple[float, float], ...] = ()
    """(start, end): ranges of the decoded part, in seconds, whose audio was lost. The patches replace it by silence."""
    length_s: float | None = None
    """Length in seconds according to the header of the part, or None if unknown."""
    damage: str = ""
    """The reason if no audio of this part can be decoded. Silence of `length_s` replaces it."""
    omitted: tuple[tuple[int, int], ...] = ()
    """(start, end): ranges of the file that are not read. Sorted, without overlaps, within the part."""
    form: str = ""
    """Codec, rate and channels as text, empty if unknown. Parts with an equal text decode to the same format."""
    first_sample: int = 0
    """The number that the first FLAC frame of the part gives its first sample. libsndfile seeks by these numbers."""

    @property
    def is_corrected(self) -> bool:
        """Whether the part has other bytes than the same range of the file."""
        return bool(self.patches or self.omitted)


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """How to read a file. Without parts, the file is read unchanged."""

    parts: tuple[FilePart, ...] = ()
    warnings: tuple[str, ...] = ()
    is_undamaged_ogg: bool = False
    """Whether the file is an Ogg file of one stream with a known codec, without gaps or damaged pages, and with its
    end."""

    @property
    def is_joined(self) -> bool:
        """Whether the file has several parts in sequence, or one part with gaps in its timestamps (see
        `concatenated_files`)."""
        return len(self.parts) > 1 or any(part.shifts for part in self.parts)


class PartFile:
    """A `FilePart` as a read-only file object, with the methods that python-soundfile needs."""

    def __init__(self, path: SourceFile, part: FilePart) -> None:
        # Each `PartFile` opens its own reader, because several sections read the same source at the same time.
        self._file = path.open("rb")
        self._part = part
        bounds = (part.start, *(at for omitted in part.omitted for at in omitted), part.end)
        self._ranges = [(start, end) for start, end in zip(bounds[::2], bounds[1::2], strict=True) if start < end]
        self._range_starts = [0, *accumulate(end - start for start, end in self._ranges)]
        self._size = len(part.head) + self._range_starts[-1]
        self._at = 0
        self._patched = [at for at, _ in part.patches]

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int) -> bytes:
        head = self._part.head
        data = head[self._at : self._at + count]
        wanted = min(count, self._size - self._at) - len(data)
        if wanted > 0:
            data += b"".join(self._pieces(self._at + len(data) - len(head), wanted))
        self._at += len(data)
        return data

    def _pieces(self, at: int, count: int) -> Iterator[bytes]:
        """Yield `count` bytes of the file, range by range. `at`: position after `head`, without the omitted ranges."""
        for number in range(bisect_right(self._range_starts, at) - 1, len(self._ranges)):
            offset = self._ranges[number][0] + at - self._range_starts[number]
            self._file.seek(offset)
            piece = self._file.read(min(count, self._range_starts[number + 1] - at))
            yield self._with_patches(offset, piece)
            at, count = at + len(piece), count - len(piece)
            if not count or at < self._range_starts[number + 1]:
                return

    def _with_patches(self, at: int, data: bytes) -> bytes:
        if not self._patched:
            return data
        patched, end = bytearray(data), at + len(data)
        # The patch before `at` may reach into the data.
        for number in range(max(0, bisect_left(self._patched, at) - 1), bisect_left(self._patched, end)):
            offset, new = self._part.patches[number]
            first, last = max(offset, at), min(offset + len(new), end)
            if first < last:
                patched[first - at : last - at] = new[first - offset : last - offset]
        return bytes(patched)

    def close(self) -> None:
        self._file.close()


def read_plan(path: SourceFile) -> ReadPlan:
    """Plan how libsndfile reads a file. Reads the header of the file. For MP3, FLAC and Ogg, all frame or page headers
    are read if necessary, which takes up to 0.1 s for an hour of audio. Raises WorkerShortage if the disk fails."""
    try:
        with path.open("rb") as file:
            start = file.read(_START_BYTES)
            # This is checked first, because the first of several appended files looks like a correct single file.
            files = appended_files.files(file)
        if files:
            return _appended_plan(path, files)
        if start[:4] == b"OggS":
            return _ogg_plan(path)
        if start[:4] in _SIZED:
            return _sized_plan(path)
        # Some taggers put an ID3 tag before FLAC, so the tag alone does not mean MP3.
        if start[:4] == b"fLaC" or (start[:3] == b"ID3" and flac.length_of(path) is not None):
            return _flac_plan(path)
        if start[:3] == b"ID3" or mp3.is_header(start[:4]):
            return _mp3_plan(path)
    except OSError as exc:
        raise source_error(exc, str(path)) from exc
    return ReadPlan()


def exact_mp3_part(path: SourceFile) -> FilePart | None:
    """Return how to read an MP3 file whose plan is empty, after a scan of all its frames: the whole file, without lost
    frames and with a correct length tag. Returns None if it can be read unchanged. Raises WorkerShortage if the disk
    fails."""
    try:
        parts = _mp3_plan(path, completely=True).parts
    except OSError as exc:
        raise source_error(exc, str(path)) from exc
    return parts[0] if len(parts) == 1 else None


def _mp3_plan(path: SourceFile, *, completely: bool = False) -> ReadPlan:
    recordings = mp3.scan_recordings(path, completely=completely)
    # A length tag that agrees with the file makes the scan of all frames unnecessary.
    if not recordings or (len(recordings) == 1 and recordings[0].trusted and not recordings[0].lost):
        return ReadPlan()
    return ReadPlan(tuple(_mp3_part(recording) for recording in recordings))


def _mp3_part(recording: Mp3Recording) -> FilePart:
    """Return a part that begins with a correct length tag. libsndfile drops the encoder padding that the tag declares,
    so there are no gaps between the parts."""
    form = f"MP3 {recording.rate} Hz, {recording.channels} channels"
    # A wrong tag is cut off and replaced, because libsndfile would use its values.
    start, head = (recording.start, b"") if recording.trusted else (recording.audio_start, recording.length_frame())
    silence, lost = recording.silence(), recording.lost_ranges_s
    return FilePart(start, recording.end, head, silence, lost=lost, length_s=recording.length_s, form=form)


def _ogg_plan(path: SourceFile) -> ReadPlan:
    links, complete, damaged = ogg.links(path)
    warnings = () if complete else ("the file has no end mark: it is cut off, or a live stream was saved",)
    parts = tuple(_ogg_part(link) for link in links)
    is_single = len(parts) == 1 and not parts[0].shifts
    # The form is empty for several streams, an unknown codec, and a stream that violates its specification.
    is_undamaged = is_single and complete and not damaged and bool(parts[0].form)
    # Reading a whole file unchanged is faster: libsndfile then reads it without Python callbacks.
    is_plain = len(parts) == 1 and not parts[0].is_corrected
    return ReadPlan(() if is_plain else parts, warnings, is_undamaged)


def _ogg_part(link: ogg.OggLink) -> FilePart:
    stream = link.only
    if stream is None:
        return FilePart(link.start, link.end)
    return FilePart(
        link.start,
        link.end,
        patches=tuple(stream.patches),
        shifts=tuple(stream.shifts),
        length_s=stream.length_s,
        omitted=tuple(stream.repeats),
        form=stream.form,
    )


def _flac_plan(path: SourceFile) -> ReadPlan:
    """Plan one part for each joined file. If there is a single file and its header declares too small a length, plan a
    header that declares 0, so that libsndfile reads to the end of the file. A piece that was cut out of a longer file
    gets a header for its own length."""
    streams = flac.streams(path)
    if len(streams) > 1:
        return ReadPlan(tuple(_flac_part(stream) for stream in streams))
    length = flac.length_of(path)
    if length is None:
        return ReadPlan()
    size = path.stat().st_size
    if length.first_sample:
        return ReadPlan((FilePart(length.audio_start, size, length.head_of_piece, first_sample=length.first_sample),))
    # A length of 0 means unknown: libsndfile then reads to the end of the file. It also does so if the length is too
    # large.
    if not 0 < length.declared_samples < length.actual_samples:
        return ReadPlan()
    part = FilePart(length.rest_start, size, length.head_without_length)
    return ReadPlan((part,), warnings=(LONGER_THAN_DECLARED,))


def _flac_part(stream: flac.FlacStream) -> FilePart:
    form = f"FLAC {stream.rate} Hz, {stream.channels} channels"
    return FilePart(
        stream.start,
        stream.end,
        stream.head,
        length_s=stream.length_s or None,
        form=form,
        first_sample=stream.first_sample,
    )


def _appended_plan(path: SourceFile, files: tuple[tuple[int, int], ...]) -> ReadPlan:
    """Plan one part for each contained file. A file that declares a wrong size gets a corrected header."""
    parts: list[FilePart] = []
    warnings: dict[str, None] = {}
    for start, end in files:
        view = PartFile(path, FilePart(start, end))
        try:
            plan = _plan_of_located(_located(cast(BinaryIO, view)))
        finally:
            view.close()
        # Positions inside a contained file become positions in the whole file.
        own = [replace(part, start=start + part.start, end=start + part.end) for part in plan.parts]
        parts += own or [FilePart(start, end)]
        warnings.update(dict.fromkeys(plan.warnings))
    return ReadPlan(tuple(parts), tuple(warnings))


def _located(file: BinaryIO) -> LocatedAudio | None:
    """Locate the audio of an uncompressed file. Returns None for other formats."""
    found = read_riff(file) or read_aiff(file) or read_au(file) or read_caf(file)
    return None if found is None else found.locate(file)


def media_plan(path: SourceFile) -> ReadPlan:
    """Plan how FFmpeg reads a file. A file that has several parts, or gaps in its timestamps, is read in parts. Any
    other file is read as a whole, with corrected Ogg pages, or with a corrected header if its own header declares a
    wrong length."""
    sized, plan = _sized_plan(path), read_plan(path)
    # A dictionary keeps the order and drops a warning that both checks give.
    warnings = dict.fromkeys((*plan.warnings, missing_end(path)))
    if plan.is_joined or any(part.is_corrected for part in plan.parts):
        parts = plan.parts
    else:
        parts = sized.parts or _raw_parts(path) or _wav_mp3_parts(path)
    return ReadPlan(parts, tuple(text for text in warnings if text))


def _raw_parts(path: SourceFile) -> tuple[FilePart, ...]:
    """Plan a raw stream or a WavPack file with damaged ranges: one part for each range with frames, and one for each
    damaged range. The result is empty for other files, and if the damage is too short to matter."""
    with path.open("rb") as file:
        gaps = [gap for gap in wavpack_gaps(file) or raw_gaps(file) if gap.length_s >= MIN_UNDECODED_S]
        size = file.seek(0, os.SEEK_END)
    parts: list[FilePart] = []
    at = 0
    for gap in gaps:
        parts += (
            FilePart(at, gap.start, form=_RAW_FORM),
            FilePart(gap.start, gap.end, length_s=gap.length_s, damage=DAMAGED_FRAMES),
        )
        at = gap.end
    return (*parts, FilePart(at, size, form=_RAW_FORM)) if parts else ()


def _wav_mp3_parts(path: SourceFile) -> tuple[FilePart, ...]:
    """Plan a WAV file with MP3 that has damaged ranges: the whole file with silent frames in their place. The result is
    empty for other files."""
    with path.open("rb") as file:
        if (extent := mp3_in_wav(file)) is None:
            return ()
        size = file.seek(0, os.SEEK_END)
        recordings = list(Mp3Scanner(file, *extent).recordings())
    patches: list[tuple[int, bytes]] = []
    lost: list[tuple[float, float]] = []
    before_s = 0.0
    for recording in recordings:
        patches += recording.silence()
        lost += ((before_s + start_s, before_s + end_s) for start_s, end_s in recording.lost_ranges_s)
        before_s += recording.length_s
    return (FilePart(0, size, b"", tuple(patches), lost=tuple(lost)),) if patches else ()


def _sized_plan(path: SourceFile) -> ReadPlan:
    """Plan a corrected header for WAV, W64, AIFF, AU and CAF if the file's own header is wrong or declares no length.
    The plan is empty for correct files and other formats."""
    with path.open("rb") as file:
        return _plan_of_located(_located(file))


def _plan_of_located(located: LocatedAudio | None) -> ReadPlan:
    if located is None or located.as_written or not located.extent.size or not located.head:
        return ReadPlan()
    extent = located.extent
    pieces = ((located.head, extent), *located.more)
    parts = tuple(FilePart(piece.start, piece.end, head) for head, piece in pieces)
    return ReadPlan(parts, warnings=(extent.warning,) if extent.warning else ())
