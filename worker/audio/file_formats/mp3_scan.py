"""Reads all frame headers of an MP3 file forward, and divides the file into recordings.

Between frames there may be tags, other bytes, and damage. ID3 tags continue a recording, because streams in segments
repeat them. The other tags only occur at the end of a file, so another recording begins after them. If other bytes
replace frames of a recording, the number of these frames is computed, see `lost_frames`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final

from worker.audio.file_formats.file_window import FileWindow
from worker.audio.file_formats.mp3_frames import (
    LENGTH_TAG_MARKS,
    MAX_FRAME_BYTES,
    Mp3Frame,
    parse,
    tag_bytes,
    tagged_bytes,
    tagged_frames,
)
from worker.audio.file_formats.mp3_recording import LostFrames, Mp3Recording

_STARTS: Final = re.compile(rb"\xff[\xe2\xe3\xea\xeb\xf2\xf3\xfa\xfb]|ID3")
"""Bytes with which a frame of layer III or an ID3 tag begins. Two searches would take minutes for a megabyte of 0xFF,
see `raw_stream_gaps`."""
_FRAME_START_BYTES: Final = 64  # these first bytes of a frame contain its header and the start of a length tag
_MAX_TAG_LOOK_BYTES: Final = 1 << 14
_SURE_FRAMES: Final = 3
"""Number of similar frames in a row from which a recording begins. Two may occur by chance in the data of a picture."""
_MAX_RATIO: Final = 4
"""A length tag is ignored if it declares more than this many times as many lost frames as the gaps have room for."""


@dataclass(slots=True)
class _OpenRecording:
    """The recording that is being read."""

    header: bytes
    first_frame: Mp3Frame
    audio_start: int
    end: int
    """Position after its last frame."""
    tag: bytes = b""
    count: int = 0
    last_bytes: int = 0
    """Size of the last frame."""
    tag_bytes: int = 0
    """Size of the ID3 tags between its frames."""
    gaps: list[tuple[int, int, int]] = field(default_factory=list)
    """(start, end, frames before) of other bytes between its frames."""

    def closed(self, end: int) -> Mp3Recording:
        gap_bytes = sum(gap_end - start for start, gap_end, _ in self.gaps)
        frame_bytes = (self.end - self.audio_start - gap_bytes - self.tag_bytes) / self.count
        declared = tagged_frames(self.tag, self.first_frame.side_bytes) if self.tag else 0
        declared_bytes = tagged_bytes(self.tag, self.first_frame.side_bytes) if self.tag else 0
        is_cut = self.end + MAX_FRAME_BYTES < self.audio_start - len(self.tag) + declared_bytes
        missing = declared - self.count if declared else None
        lost = lost_frames(self.gaps, frame_bytes, missing, is_cut=is_cut or not declared_bytes)
        frames = self.count + sum(piece.count for piece in lost)
        return Mp3Recording(self.header, self.tag, self.audio_start, end, frames, lost)


def lost_frames(
    gaps: Sequence[tuple[int, int, int]], frame_bytes: float, missing: int | None, *, is_cut: bool
) -> tuple[LostFrames, ...]:
    """Return the frames that were lost in the gaps of a recording.

    `gaps`: see `_OpenRecording.gaps`. `frame_bytes`: mean size of its frames. `missing`: number of frames that the
    length tag declares and that are not there, or None without a tag. `is_cut`: whether some of these may be missing at
    the end instead."""
    sizes = [(end - start) / frame_bytes for start, end, _ in gaps]
    estimate = sum(sizes)
    if not gaps or (missing is not None and missing <= 0):
        return ()
    total = estimate
    # Fewer frames than the gaps have room for are plausible: the gaps may contain bytes that were never frames.
    if missing is not None and missing <= _MAX_RATIO * estimate:
        total = min(missing, estimate) if is_cut else missing
    # Rounding the sums instead of each gap avoids that many small errors add up.
    found, exact, whole = [], 0.0, 0
    for (start, end, before), size in zip(gaps, sizes, strict=True):
        exact += size * total / estimate
        if (count := round(exact) - whole) > 0:
            found.append(LostFrames(start, end, before + whole, count))
            whole += count
    return tuple(found)


class Mp3Scanner:
    """Finds the recordings in a part of a file."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        """`start`, `size`: byte positions of the start and the end of the part."""
        self._window = FileWindow(file, start, MAX_FRAME_BYTES)
        self._size = size
        self._known: dict[bytes, Mp3Frame] = {}
        """Headers of the current recording."""
        self._open: _OpenRecording | None = None
        self._in_sync = False
        """Whether a frame of the current recording ends at the position of the window."""
        self._is_ended = False
        """Whether the current recording has ended, so that the next frame begins another one."""

    def recordings(self) -> Iterator[Mp3Recording]:
        window = self._window
        while window.position < self._size and (window.at + _FRAME_START_BYTES <= len(window.data) or window.refill()):
            if self._in_sync and self._follow() and window.at + _FRAME_START_BYTES > len(window.data):
                continue
            if window.at + (_SURE_FRAMES + 1) * MAX_FRAME_BYTES > len(window.data):
                window.refill()
            head = window.data[window.at : window.at + 4]
            frame = parse(head)
            if frame is None or not self._is_frame(frame):
                self._skip()
                continue
            tag_at = window.at + 4 + frame.side_bytes
            is_tag = window.data[tag_at : tag_at + 4] in LENGTH_TAG_MARKS
            if self._open is None or is_tag or self._is_ended or not frame.is_similar(self._open.first_frame):
                if self._open is not None and self._open.count:
                    yield self._open.closed(self._open.end)
                self._begin(head, frame, is_tag=is_tag)
            elif not self._in_sync and window.position > self._open.end:
                self._open.gaps.append((self._open.end, window.position, self._open.count))
                self._open.end = window.position
            self._in_sync = True
            if not is_tag:
                self._known[head] = frame
                self._follow(at_least=1)
        if self._open is not None and self._open.count:
            yield self._open.closed(self._size)

    def _begin(self, head: bytes, frame: Mp3Frame, *, is_tag: bool) -> None:
        window = self._window
        tag = window.data[window.at : window.at + frame.length] if is_tag else b""
        window.at += len(tag)
        self._open = _OpenRecording(head, frame, window.position, window.position, tag)
        self._known, self._is_ended = {}, False

    def _follow(self, at_least: int = 0) -> int:
        """Pass the frames with known headers that follow. Returns their number. `at_least`: number of frames that are
        not examined."""
        window, known, opened = self._window, self._known, self._open
        data, at, count, length = window.data, window.at, 0, 0
        last = len(data) - _FRAME_START_BYTES
        while at <= last or count < at_least:
            frame = known.get(data[at : at + 4])
            if frame is None:
                break
            tag_at = at + 4 + frame.side_bytes
            if data[tag_at : tag_at + 4] in LENGTH_TAG_MARKS:
                break
            length = frame.length
            at += length
            count += 1
        window.at = at
        if opened is not None and count:
            opened.count += count
            opened.last_bytes = length
            opened.end = window.position
        return count

    def _is_frame(self, frame: Mp3Frame) -> bool:
        """Whether the header at the position of the window begins a frame. A header that does not follow a similar
        frame may occur by chance."""
        if self._in_sync and self._open is not None and frame.is_similar(self._open.first_frame):
            return True
        return self._is_chain(self._window.at, frame, accepts_end_of_file=True)

    def _is_chain(self, at: int, frame: Mp3Frame | None, *, accepts_end_of_file: bool) -> bool:
        """Whether `_SURE_FRAMES` similar frames follow each other from index `at`. `accepts_end_of_file`: whether fewer
        frames are enough at the end of the file."""
        data = self._window.data
        for _ in range(_SURE_FRAMES - 1):
            if frame is None:
                return False
            at += frame.length
            if at + 4 > len(data):
                return accepts_end_of_file
            following = parse(data[at : at + 4])
            if not frame.is_similar(following):
                return False
            frame = following
        return True

    def _skip(self) -> None:
        """Move to the next position where a frame or a tag may begin."""
        window, opened = self._window, self._open
        data, at = window.data, window.at
        if self._in_sync and opened is not None and (inner := self._inner_start(opened)) is not None:
            # Its last frame was cut off, and the next file was joined there.
            opened.count -= 1
            opened.end -= opened.last_bytes
            self._in_sync = False
            window.at = inner
            return
        if size := tag_bytes(data[at : at + _MAX_TAG_LOOK_BYTES]):
            window.at += size
            if opened is not None and self._in_sync and data[at : at + 3] == b"ID3":
                opened.end += size
                opened.tag_bytes += size
                opened.last_bytes = 0  # the next frame may follow the tag directly, but the last one does not end there
            elif self._in_sync or data[at : at + 3] == b"ID3":
                self._is_ended, self._in_sync = True, False
            return
        self._in_sync = False
        found = _STARTS.search(data, at + 1)
        window.at = found.start() if found else max(at + 1, len(data) - 3)

    def _inner_start(self, opened: _OpenRecording) -> int | None:
        """Return the index inside the last frame at which an ID3 tag or other frames begin, or None."""
        data, end = self._window.data, self._window.at
        for at in range(max(0, end - opened.last_bytes + 4), end if opened.count else 0):
            if data[at] == 0x49 and tag_bytes(data[at : at + 32]):
                return at
            if data[at] == 0xFF and self._is_chain(at, parse(data[at : at + 4]), accepts_end_of_file=False):
                return at
        return None
