"""Detects from the structure of a media file that its end is missing. Used for files that declare no length in seconds.

Containers declare the size of the whole file, or of the element that contains the media; frames and packets have known
sizes. A file that ends before a declared end, or within a frame or packet, is cut off.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from contextlib import suppress
from typing import BinaryIO, Final

from worker.audio.file_formats.raw_streams import ends_inside_a_frame
from worker.audio.opened_file import SourceFile
from worker.transient_os_errors import source_error

_TAIL_BYTES: Final = 64 << 10
_HEAD_BYTES: Final = 64 << 10
_SEGMENT_ID: Final = b"\x18\x53\x80\x67"
_ASF_FILE_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_BROADCAST: Final = 1
_MAX_RIFF_BYTES: Final = 0x7FFF0000  # larger values mean that the size is unknown
_MAX_BOXES: Final = 100_000
_MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_MID_FRAME: Final = "the file ends in the middle of a frame: it is cut off, or a live stream was saved"
_UNKNOWN_SWF_BYTES: Final = 100 << 20
"""FFmpeg writes this size if the file has no video."""
_DV_FRAME_BYTES: Final = {b"\x1f\x07\x00\x3f": 120_000, b"\x1f\x07\x00\xbf": 144_000}
"""Size of a frame of 60 and of 50 fields a second. Frames of DV50 and DV100 have a multiple of this size."""
_NUT: Final = b"nut/multimedia container"
_NUT_INDEX: Final = bytes.fromhex("4e58dd672f23e64e")
_NO_INDEX: Final = "the file has no index at its end: it is cut off, or a live stream was saved"
_MID_DATA: Final = "the file ends in the middle of its compressed data: it is cut off"
_MID_PACKET: Final = "the file ends in the middle of a packet: it is cut off, or a live stream was saved"


def missing_end(path: SourceFile) -> str:
    """Return a warning if a file ends too early, otherwise "". Raises WorkerShortage if the disk fails."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            head = file.read(_HEAD_BYTES)
            declared = _declared_bytes(file, head, size)
            if declared > size:
                return f"cut off: the header declares {declared} bytes, the file has {size}"
            return _cut_unit(file, head, size)
    except OSError as exc:
        raise source_error(exc, str(path)) from exc


def _declared_bytes(file: BinaryIO, head: bytes, size: int) -> int:
    """Return the size of the file in bytes that its header declares, or 0 if the header declares no size."""
    if head[4:8] in _MP4_BOXES:
        return _last_box_end(file, size)
    if head.startswith(b"Creative Voice File"):
        return _last_voc_block_end(file, int.from_bytes(head[20:22], "little"), size)
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        riff = int.from_bytes(head[4:8], "little")
        return riff + 8 if 0 < riff < _MAX_RIFF_BYTES else 0
    return max(_matroska_end(head), _asf_end(head), _flv_end(head), _nist_end(head), _sox_end(head), _swf_end(head))


def _nist_end(head: bytes) -> int:
    """Return the byte position at which a NIST SPHERE file ends, or 0 if unknown. The header consists of `NIST_1A`, the
    size of the header, and lines `name -type value`."""
    if not head.startswith(b"NIST_1A"):
        return 0
    fields = {line[0]: line[2] for line in (line.split() for line in head[:1024].splitlines()) if len(line) == 3}
    needed = (fields.get(name, b"") for name in (b"sample_count", b"channel_count", b"sample_n_bytes"))
    values = [int(value) if value.isdigit() else 0 for value in needed]
    header = head[8:16].strip()
    plain = b"embedded" not in fields.get(b"sample_coding", b"")
    return int(header) + math.prod(values) if header.isdigit() and all(values) and plain else 0


def _sox_end(head: bytes) -> int:
    """Return the byte position at which a file in SoX's own format ends, or 0 for other files. The format has samples
    of 32 bits."""
    order = {b".SoX": "little", b"XoS.": "big"}.get(head[:4])
    if order == "little":
        return int.from_bytes(head[4:8], "little") + 4 * int.from_bytes(head[8:16], "little")
    return int.from_bytes(head[4:8], "big") + 4 * int.from_bytes(head[8:16], "big") if order else 0


def _swf_end(head: bytes) -> int:
    """Return the byte position at which an uncompressed SWF file ends, or 0 if unknown."""
    declared = int.from_bytes(head[4:8], "little") if head.startswith(b"FWS") else 0
    return 0 if declared == _UNKNOWN_SWF_BYTES else declared


def _asf_end(head: bytes) -> int:
    at = head.find(_ASF_FILE_PROPERTIES)
    if not head.startswith(b"\x30\x26\xb2\x75") or at < 0:
        return 0
    flags = int.from_bytes(head[at + 88 : at + 92], "little")
    return 0 if flags & _BROADCAST else int.from_bytes(head[at + 40 : at + 48], "little")


def _flv_end(head: bytes) -> int:
    at = head.find(b"filesize\0")
    if not head.startswith(b"FLV") or not 0 <= at < len(head) - 17:
        return 0
    (value,) = struct.unpack(">d", head[at + 9 : at + 17])
    return int(value) if 0 < value < 1 << 60 else 0


def _matroska_end(head: bytes) -> int:
    at = head.find(_SEGMENT_ID) if head.startswith(b"\x1a\x45\xdf\xa3") else -1
    if at < 0 or at + 12 > len(head) or not head[at + 4]:
        return 0
    width = 9 - head[at + 4].bit_length()
    value = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    return 0 if value == (1 << 7 * width) - 1 else at + 4 + width + value


def _last_box_end(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:16], "big")
        # The end is unknown. A box of size 0 extends to the end of the file, and any other value here does not begin a
        # box.
        if length < 8 or not head[4:8].isalnum():
            return 0
        at += length
        if at >= size:
            return at
    return 0


def _last_voc_block_end(file: BinaryIO, at: int, size: int) -> int:
    while at + 4 <= size:
        file.seek(at)
        head = file.read(4)
        if head[0] == 0:
            return 0
        at += 4 + int.from_bytes(head[1:4], "little")
    return at


def _has_nut_index(file: BinaryIO, size: int) -> bool:
    """Whether a NUT file ends with its index. The length of the index is before the last 4 bytes."""
    file.seek(max(0, size - 12))
    at = size - int.from_bytes(file.read(8), "big")
    if not 0 <= at < size:
        return False
    file.seek(at)
    return file.read(8) == _NUT_INDEX


def _is_swf_complete(file: BinaryIO, declared: int) -> bool:
    """Whether the compressed data of an SWF file have their end, or at least the `declared` bytes. Damaged data count
    as complete, because the decoder reports them."""
    file.seek(8)
    data, done = zlib.decompressobj(), 8
    with suppress(zlib.error):
        while done < declared and not data.eof:
            if not (compressed := data.unconsumed_tail or file.read(_TAIL_BYTES)):
                return False
            done += len(data.decompress(compressed, _TAIL_BYTES))
    return True


def _cut_unit(file: BinaryIO, head: bytes, size: int) -> str:
    """Return a warning if a stream ends within a packet or frame, or if a NUT file ends without its index. Otherwise
    return ""."""
    for packet, offset in ((188, 0), (192, 4), (204, 0)):
        if len(head) > 4 * packet and all(head[offset + k * packet] == 0x47 for k in range(5)):
            return _MID_PACKET if size % packet else ""
    if head.startswith(b"CWS"):
        return "" if _is_swf_complete(file, int.from_bytes(head[4:8], "little")) else _MID_DATA
    if frame := _DV_FRAME_BYTES.get(head[:4]):
        return _MID_FRAME if size % frame else ""
    file.seek(max(0, size - _TAIL_BYTES))
    if head.startswith(_NUT):
        return "" if _has_nut_index(file, size) else _NO_INDEX
    if not head.startswith((b"\xff", b"\x0b\x77", b"ID3")):  # other files have a container with its own sizes
        return ""
    return _MID_FRAME if ends_inside_a_frame(head, file.read()) else ""
