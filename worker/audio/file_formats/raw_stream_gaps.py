"""Finds damaged ranges between the frames of a raw stream of AAC (ADTS), AC-3 or E-AC-3.

FFmpeg continues after such a range without silence, and its frames have no timestamps. So the length of the lost audio
is computed from the mean size of the frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from worker.audio.file_formats.file_window import FileWindow
from worker.audio.file_formats.mp3_frames import tag_bytes
from worker.audio.file_formats.raw_streams import ac3_frame, adts_frame

_STARTS: Final = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]|\x0b\x77|ID3")
"""Bytes with which a frame or an ID3 tag begins. One pattern stops at the first match. A search for each mark would
read the rest of the window at each step, which takes minutes for a megabyte of 0xFF."""
_HEAD_BYTES: Final = 8
_SURE_FRAMES: Final = 3
"""Number of frames in a row that continue the stream after other bytes."""
_MAX_FRAME_BYTES: Final = 8192
_MAX_TAG_LOOK_BYTES: Final = 1 << 14
_ADTS_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AC3_RATES: Final = (48000, 44100, 32000)
_EAC3_BLOCKS: Final = (1, 2, 3, 6)
_BLOCK_SAMPLES: Final = 256


@dataclass(frozen=True, slots=True)
class DamagedRange:
    """Bytes that contain no frames, although frames follow. `start`, `end`: byte positions in the file. `length_s`:
    seconds of the lost audio."""

    start: int
    end: int
    length_s: float


def raw_gaps(file: BinaryIO) -> list[DamagedRange]:
    """Return the gaps of a raw stream, in order. The list is empty for other files. Reads all of a raw stream, which
    takes about 0.2 s for an hour of audio."""
    scan = _Scan(file)
    return scan.gaps() if scan.is_raw_stream else []


class _Scan:
    def __init__(self, file: BinaryIO) -> None:
        file.seek(0)
        self._window = FileWindow(file, 0)
        while size := tag_bytes(self._window.data[self._window.at :][:_MAX_TAG_LOOK_BYTES]):
            self._window.at += size
            if not self._window.refill():
                break
        self._kind = self._kind_at(self._window.at)
        self.is_raw_stream = self._kind is not None and self._is_chain()

    def _kind_at(self, at: int) -> bytes | None:
        """Return the bits of a frame header that are equal in all frames of a stream, or None if there is no frame at
        index `at`."""
        head = self._window.data[at : at + _HEAD_BYTES]
        if adts_frame(head):
            return bytes((head[0], head[1] & 0xF6, head[2] & 0x3C))
        if ac3_frame(head):
            return bytes((head[0], head[1], head[4] & 0xC0, head[5] >> 3 > 10))
        return None

    def _size_at(self, at: int) -> int:
        head = self._window.data[at : at + _HEAD_BYTES]
        frame = adts_frame(head) or ac3_frame(head)
        return frame[1] if frame else 0

    def _is_chain(self) -> bool:
        """Whether frames of one kind follow each other from the position of the window."""
        if self._window.at + (_SURE_FRAMES + 1) * _MAX_FRAME_BYTES > len(self._window.data):
            self._window.refill()
        at, kind = self._window.at, self._kind_at(self._window.at)
        for _ in range(_SURE_FRAMES):
            if kind is None or self._kind_at(at) != kind:
                return False
            at += self._size_at(at)
        return True

    def gaps(self) -> list[DamagedRange]:
        window = self._window
        found: list[tuple[int, int]] = []
        end, frame_bytes, frames_s = window.position, 0, 0.0
        while window.at + _HEAD_BYTES <= len(window.data) or window.refill():
            head = window.data[window.at : window.at + _HEAD_BYTES]
            frame = adts_frame(head) or ac3_frame(head)
            if frame is None or (window.position != end and not self._is_chain()):
                if self._skip(is_in_sync=window.position == end):
                    end = window.position
                continue
            if window.position != end:
                found.append((end, window.position))
            frame_bytes += frame[1]
            frames_s += _frame_s(frame[0], head)
            window.at += frame[1]
            end = window.position
        return [DamagedRange(first, last, (last - first) / frame_bytes * frames_s) for first, last in found]

    def _skip(self, *, is_in_sync: bool) -> bool:
        """Move to the next position where a frame or a tag may begin. Returns True if a tag was skipped after which the
        stream may continue."""
        window = self._window
        data, at = window.data, window.at
        if size := tag_bytes(data[at : at + _MAX_TAG_LOOK_BYTES]):
            window.at += size
            return is_in_sync
        found = _STARTS.search(data, at + 1)
        window.at = found.start() if found else max(at + 1, len(data) - _HEAD_BYTES + 1)
        return False


def _frame_s(coding: str, head: bytes) -> float:
    """Return the length of a frame in seconds."""
    if coding == "AC-3":
        return 6 * _BLOCK_SAMPLES / _AC3_RATES[head[4] >> 6]
    if coding == "E-AC-3":
        if head[2] >> 6 == 1:  # it adds channels to the frame before it
            return 0.0
        rate_index = head[4] >> 6
        if rate_index == 3:
            return 6 * _BLOCK_SAMPLES / (_AC3_RATES[min(2, head[4] >> 4 & 3)] / 2)
        return _EAC3_BLOCKS[head[4] >> 4 & 3] * _BLOCK_SAMPLES / _AC3_RATES[rate_index]
    return 1024 * ((head[6] & 3) + 1) / _ADTS_RATES[head[2] >> 2 & 15]
