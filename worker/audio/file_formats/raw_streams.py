"""Recognizes coded audio without a container by its consecutive frames: MPEG audio, ADTS, AC-3, DTS, GSM."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_SEARCH_BYTES: Final = 64 << 10
_NEEDED: Final = 4
"""Number of frames that must directly follow each other. In a file that ends earlier, two frames are enough."""

# The index is the value of the version bits in the header: MPEG-2.5, reserved, MPEG-2, MPEG-1.
_RATES: Final = ((11025, 12000, 8000), (1, 1, 1), (22050, 24000, 16000), (44100, 48000, 32000))
_KBPS: Final = {
    # The keys are (whether MPEG-1, layer). Source: ISO/IEC 11172-3 and 13818-3.
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_AC3_KBPS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_DTS_MARKS: Final = (b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00", b"\xff\x1f\x00\xe8")
_GSM_BYTES: Final = 33
_SYNC: Final = (0xFF, 0x0B, 0x56)

CodedFrame = tuple[str, int]
"""Name of the codec, and size of the frame in bytes."""


def raw_stream(data: bytes) -> str | None:
    """Return the codec of a file that starts with `data`, or None if no frames directly follow each other."""
    for find in (mpeg_frame, adts_frame, ac3_frame, _loas_frame):
        if found := _chain(data[: 2 * _SEARCH_BYTES], find):
            return found
    if data.startswith(_DTS_MARKS):
        return "DTS"
    frames = min(len(data) // _GSM_BYTES, 200)
    if frames >= 10 and all(data[_GSM_BYTES * k] >> 4 == 0xD for k in range(frames)):
        return "GSM 06.10"
    return None


def ends_inside_a_frame(head: bytes, tail: bytes) -> bool:
    """Whether a file of MPEG, AC-3 or ADTS frames ends inside a frame. `head`, `tail`: first and last bytes of the
    file."""
    for find in (mpeg_frame, adts_frame, ac3_frame):
        coding = _chain(head, find)
        if coding is not None:
            return _is_cut(tail, find, coding)
    return False


def _is_cut(tail: bytes, find: Callable[[bytes], CodedFrame | None], coding: str) -> bool:
    """Whether the last frame in `tail` is cut off, because it ends after the end of `tail`. Only frames of the codec
    `coding` are examined."""
    at = next((k for k in range(len(tail)) if tail[k] in _SYNC and _follow(tail, k, find)), None)
    while at is not None and at + 8 <= len(tail):
        frame = find(tail[at : at + 8])
        if frame is None or frame[0] != coding:
            return False
        at += frame[1]
        if at > len(tail):
            return True
    return False


def _chain(data: bytes, find: Callable[[bytes], CodedFrame | None]) -> str | None:
    """Find the first position in `data` from which several frames directly follow each other. Returns their codec, or
    None if there is no such position."""
    for at in range(min(len(data), _SEARCH_BYTES)):
        if data[at] in _SYNC and (first := find(data[at : at + 8])) and _follow(data, at, find):
            return first[0]
    return None


def _follow(data: bytes, at: int, find: Callable[[bytes], CodedFrame | None]) -> bool:
    """Whether frames of one codec directly follow each other from position `at`: at least `_NEEDED` frames, or at least
    two if `data` ends after them."""
    coding = ""
    for count in range(_NEEDED):
        if at + 8 > len(data):
            return count >= 2
        frame = find(data[at : at + 8])
        if frame is None or coding not in ("", frame[0]):
            return False
        coding, at = frame[0], at + frame[1]
    return True


def mpeg_frame(data: bytes) -> CodedFrame | None:
    """Parse a frame header of MPEG audio, layers I to III. The name of the codec is MP1, MP2 or MP3."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    kbps_index, rate_index = data[2] >> 4, data[2] >> 2 & 3
    if version == 1 or layer == 4 or kbps_index in (0, 15) or rate_index == 3:
        return None
    rate, kbps, padding = _RATES[version][rate_index], _KBPS[version == 3, layer][kbps_index], data[2] >> 1 & 1
    if layer == 1:
        return "MP1", (12000 * kbps // rate + padding) * 4
    return f"MP{layer}", (72 if layer == 3 and version != 3 else 144) * 1000 * kbps // rate + padding


def adts_frame(data: bytes) -> CodedFrame | None:
    """Parse a frame header of AAC in ADTS, at least 7 bytes."""
    if len(data) < 7 or data[0] != 0xFF or data[1] & 0xF6 != 0xF0 or data[2] >> 2 & 15 > 12:
        return None
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return ("AAC (ADTS)", size) if size > 7 else None


def ac3_frame(data: bytes) -> CodedFrame | None:
    """Parse a frame header of AC-3 or E-AC-3, at least 6 bytes."""
    if len(data) < 6 or data[:2] != b"\x0b\x77":
        return None
    if data[5] >> 3 > 10:
        return "E-AC-3", 2 * (((data[2] & 7) << 8 | data[3]) + 1)
    rate, code = data[4] >> 6, data[4] & 63
    if rate == 3 or code > 37:
        return None
    kbps = _AC3_KBPS[code >> 1]
    words = {0: 2 * kbps, 1: 320 * kbps // 147 + (code & 1), 2: 3 * kbps}[rate]
    return "AC-3", 2 * words


def _loas_frame(data: bytes) -> CodedFrame | None:
    if len(data) < 3 or data[0] != 0x56 or data[1] & 0xE0 != 0xE0:
        return None
    return "AAC (LATM)", 3 + ((data[1] & 0x1F) << 8 | data[2])
