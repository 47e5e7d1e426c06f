"""Finds files that are appended to another file. Readers stop at the end that the first header declares, and miss the
files after it.

The command `cat a.m4a b.m4a` appends a file in this way, and so do recorders that append to an existing file. Formats
that consist of frames (MP3, Ogg, FLAC, ADTS, transport streams) declare no end; the modules for these formats find
files appended to them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO, Final, Literal

from worker.audio.file_formats.data_extent import Chunks, walk
from worker.audio.file_formats.file_bytes import read_at
from worker.audio.file_formats.mp3 import is_header

_MAX_FILES: Final = 10_000
_MAX_BOXES: Final = 1_000_000
_HEAD_BYTES: Final = 64
_CHUNK_BYTES: Final = 1 << 20
_LARGEST: Final = 0x7FFF0000
"""32-bit sizes of this value or more may mean that the size is unknown."""
_BIG_CHUNKS: Final = Chunks("big")
_CAF_CHUNKS: Final = Chunks("big", size_bytes=8, padded=False)
_W64: Final = bytes.fromhex("726966662e91cf11a5d628db04c10000")
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_ASF: Final = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_PROPERTIES: Final = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_HEAD_BYTES: Final = 64 << 10
_FLV_STARTS: Final = tuple(b"FLV\x01" + bytes((flags, 0, 0, 0, 9, 0, 0, 0, 0)) for flags in (1, 4, 5))
_TTA_FRAME_S: Final = 256 / 245
_MAX_MOOF_BYTES: Final = 1 << 20
_ID3V1_BYTES: Final = 128
_ID3V2_HEAD_BYTES: Final = 10
_NUT: Final = b"nut/multimedia container\0"

Begins = Callable[[bytes], bool]
"""A function that returns whether the given bytes are the start of a file of one format."""
Ends = Callable[[BinaryIO, int, int], tuple[int, ...]]
"""A function of (file, start, size of the whole file) that returns the possible ends of the contained file that begins
at byte `start`."""


def files(file: BinaryIO) -> tuple[tuple[int, int], ...]:
    """Return the start and end (in bytes) of each contained file. The result is empty if there is only one file."""
    size = file.seek(0, os.SEEK_END)
    starts = [0]
    while len(starts) < _MAX_FILES and (following := _next(file, starts[-1], size)) is not None:
        starts.append(following)
    return tuple(zip(starts, [*starts[1:], size], strict=True)) if len(starts) > 1 else ()


def _next(file: BinaryIO, start: int, size: int) -> int | None:
    head = read_at(file, start, _HEAD_BYTES)
    ends = next((ends for begins, ends in _FORMATS if ends is not None and begins(head)), None)
    if ends is None:
        return None
    for end in ends(file, start, size):
        following = _after_tags(file, end)
        if start < following < size and _file_begins(file, following):
            return following
    return None


def _after_tags(file: BinaryIO, at: int) -> int:
    """Return the end of an APEv2 tag and an ID3v1 tag that begin at `at`, or `at` if there are none."""
    head = read_at(file, at, 32)
    if head.startswith(b"APETAGEX"):
        at += 32 + int.from_bytes(head[12:16], "little")
    return at + _ID3V1_BYTES if read_at(file, at, 3) == b"TAG" else at


def _after_id3(file: BinaryIO, at: int) -> int:
    """Return the end of an ID3v2 tag that begins at `at`, or `at` if there is none. A tag alone is not the start of a
    file: it may belong to the audio before it."""
    head = read_at(file, at, _ID3V2_HEAD_BYTES)
    if head[:3] != b"ID3" or len(head) < _ID3V2_HEAD_BYTES:
        return at
    size = 0
    for byte in head[6:]:  # 7 bits of the size in each byte
        size = size << 7 | byte & 0x7F
    return at + _ID3V2_HEAD_BYTES + size


def _file_begins(file: BinaryIO, at: int) -> bool:
    """Whether a file begins at byte `at`. An MP3 file is only recognized after an ID3 tag, because four bytes of PCM
    may look like a frame of MP3."""
    content = _after_id3(file, at)
    head = read_at(file, content, _HEAD_BYTES)
    return _begins(head) or (content > at and is_header(head[:4]))


def _begins(head: bytes) -> bool:
    return any(begins(head) for begins, _ in _FORMATS)


# -- where files end ---------------------------------------------------------------------------------------------------
def _wav_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    """Return the byte positions at which the file may end: after all chunks, and after the audio (if the declared total
    size is wrong)."""
    order = read_at(file, start, 4)
    chunks = Chunks("big" if order == b"RIFX" else "little")
    declared = int.from_bytes(read_at(file, start + 4, 4), chunks.order)
    if order in (b"RF64", b"BW64") and read_at(file, start + 12, 4) == b"ds64":
        declared = int.from_bytes(read_at(file, start + 20, 8), chunks.order)
    return _after_chunks(file, start, size, declared, chunks)


def _aiff_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    declared = int.from_bytes(read_at(file, start + 4, 4), "big")
    return _after_chunks(file, start, size, declared, _BIG_CHUNKS)


def _after_chunks(file: BinaryIO, start: int, size: int, declared: int, chunks: Chunks) -> tuple[int, ...]:
    """Return the byte positions at which the file may end: after the `declared` size, and after the chunk with the
    audio. Each of them may be followed by a pad byte."""
    ends: dict[int, None] = dict.fromkeys((start + 8 + declared, start + 9 + declared))
    for name, at, content in walk(file, start + 12, size, chunks):
        if name in (b"data", b"SSND") and content < _LARGEST:
            ends.update(dict.fromkeys((at + content, at + content + 1)))
            break
    return tuple(ends)


def _w64_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    end = start + int.from_bytes(read_at(file, start + 16, 8), "little")
    return end, end + -end % 8


def _caf_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    end = start
    for name, at, content in walk(file, start + 8, size, _CAF_CHUNKS):
        if name == b"caff" or content >> 62:
            break
        end = at + content
    return (end,)


def _asf_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    head = read_at(file, start, _ASF_HEAD_BYTES)
    at = head.find(_ASF_PROPERTIES)
    return (start + int.from_bytes(head[at + 40 : at + 48], "little"),) if at >= 0 else ()


def _tta_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    """Return the end of the last frame, computed from the table in the header with the sizes of all frames."""
    head = read_at(file, start, 22)
    rate, samples = int.from_bytes(head[10:14], "little"), int.from_bytes(head[14:18], "little")
    length = int(_TTA_FRAME_S * rate)
    if not length:
        return ()
    count = -(-samples // length)
    table = read_at(file, start + 22, min(4 * count, size))
    return (start + 26 + 4 * count + sum(int.from_bytes(table[k : k + 4], "little") for k in range(0, len(table), 4)),)


def _wavpack_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    """Return the start of the first block whose sample index is lower than that of the previous block. This block is
    the first one of another file."""
    at, last = start, 0
    while at + 32 <= size:
        head = read_at(file, at, 32)
        index = int.from_bytes(head[16:20], "little") | head[10] << 32
        if head[:4] != b"wvpk" or index < last:
            break
        at, last = at + 8 + int.from_bytes(head[4:8], "little"), index
    return (at,)


def _matroska_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    """Return the end of the segment. A live recording declares no size; for it, the start of the next file is searched
    and returned."""
    head = read_at(file, start, 4096)
    at = head.find(_SEGMENT)
    if at < 0 or at + 12 > len(head) or not head[at + 4]:
        return ()
    width = 9 - head[at + 4].bit_length()
    content = int.from_bytes(head[at + 4 : at + 4 + width], "big") & ((1 << 7 * width) - 1)
    if content == (1 << 7 * width) - 1:
        return _search(file, start + 4, (_EBML,))
    return (start + at + 4 + width + content,)


def _nut_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    return _search(file, start + len(_NUT), (_NUT,))


def _au_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    head = read_at(file, start, 12)
    order: Literal["little", "big"] = "big" if head[:4] == b".snd" else "little"
    return (start + int.from_bytes(head[4:8], order) + int.from_bytes(head[8:12], order),)


def _flv_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    return _search(file, start + 9, _FLV_STARTS)


def _search(file: BinaryIO, at: int, marks: tuple[bytes, ...]) -> tuple[int, ...]:
    """Return a tuple with the first byte position, from `at` on, at which a file begins with one of `marks`. The tuple
    is empty if there is no such position."""
    file.seek(at)
    rest, base = b"", at
    while data := file.read(_CHUNK_BYTES):
        block = rest + data
        places = []
        for mark in marks:
            place = block.find(mark)
            while place >= 0 and not _begins(block[place : place + _HEAD_BYTES]):
                place = block.find(mark, place + 1)
            places += [place] if place >= 0 else []
        if places:
            return (base + min(places),)
        rest = block[1 - _HEAD_BYTES :]
        base += len(block) - len(rest)
    return ()


def _mp4_ends(file: BinaryIO, start: int, size: int) -> tuple[int, ...]:
    """Return the start of the next `ftyp` box that is followed by an index, because another file begins at that box. A
    box after which the timestamps continue is skipped, because live recorders repeat the index between fragments."""
    at, second, has_index, fragmented = start, 0, False, False
    for _ in range(_MAX_BOXES):
        head = read_at(file, at, 16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        name = head[4:8]
        if length < 8 or not name.isalnum():
            return (at,)  # the start of a file of another format
        if name == b"ftyp" and at > start:
            second, has_index, fragmented = at, False, False
        elif second and name == b"moov":
            has_index = True
            fragmented = b"mvex" in read_at(file, at, min(length, _MAX_MOOF_BYTES))
        elif second and name == b"moof" and fragmented and _first_time(read_at(file, at, min(length, _MAX_MOOF_BYTES))):
            second = 0
        if second and has_index and (not fragmented or name == b"moof"):
            return (second,)
        at += length
        if at >= size:
            break
    return ()


def _first_time(fragment: bytes) -> int:
    """Return the first timestamp of an MP4 fragment (box `tfdt`), or 0 if the fragment has no timestamp."""
    at = fragment.find(b"tfdt")
    width = 8 if fragment[at + 4 : at + 5] == b"\1" else 4
    return int.from_bytes(fragment[at + 8 : at + 8 + width], "big") if at >= 0 else 0


# -- how files begin ---------------------------------------------------------------------------------------------------
def _is_wav(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE"


def _is_aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def _is_matroska(head: bytes) -> bool:
    return head.startswith(_EBML) and (b"\x42\x82\x88matroska" in head or b"\x42\x82\x84webm" in head)


def _starts(*marks: bytes) -> Begins:
    return lambda head: head.startswith(marks)


_FORMATS: Final[tuple[tuple[Begins, Ends | None], ...]] = (
    (_is_wav, _wav_ends),
    (_is_aiff, _aiff_ends),
    (_starts(_W64), _w64_ends),
    (_starts(b"caff\0\1\0\0"), _caf_ends),
    (lambda head: head[4:8] == b"ftyp", _mp4_ends),
    (_is_matroska, _matroska_ends),
    (_starts(_ASF), _asf_ends),
    (_starts(*_FLV_STARTS), _flv_ends),
    (_starts(_NUT), _nut_ends),
    (_starts(b".snd\0\0", b"dns."), _au_ends),
    (_starts(b"TTA1"), _tta_ends),
    (_starts(b"wvpk"), _wavpack_ends),
    # These formats are only recognized after another file; their own modules find files appended to them.
    (_starts(b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22", b"OggS\0\2"), None),
)
