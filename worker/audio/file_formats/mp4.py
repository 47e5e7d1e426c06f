"""Finds the codecs and edit lists of the audio tracks in MP4 and QuickTime files.

Sources: ISO/IEC 14496-12 and -14, QuickTime File Format.
"""

from __future__ import annotations

import os
from typing import BinaryIO, Final

from worker.audio.file_formats.coding_names import MP4_CODINGS, MP4A_OBJECTS
from worker.audio.file_formats.file_bytes import read_at

_MAX_BOXES: Final = 1000
_FIRST_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_NORMAL_SPEEDS: Final = (0x10000, 0)
"""Speed 1.0 as a fixed-point number (16.16 bits), and 0, which some programs write instead."""
_MAX_TABLE_BYTES: Final = 1 << 16


def audio_codings(file: BinaryIO) -> list[str]:
    """Return the name of the codec of each audio track, in order. The list is empty if the file has no index (box
    `moov`)."""
    end = file.seek(0, os.SEEK_END)
    codings = []
    for name, start, stop in _boxes(file, 0, end):
        if name == b"moov":
            for track, first, last in _boxes(file, start, stop):
                if track == b"trak" and (coding := _coding(file, first, last)):
                    codings.append(coding)
    return codings


def has_uncommon_edits(file: BinaryIO) -> bool:
    """Whether the edit list of an audio track changes the speed, or has a pause in the middle. FFmpeg 7 reads both
    wrongly: it ignores the speed, and so drops or adds audio; and it decodes the wrong audio at a pause."""
    if read_at(file, 4, 4) not in _FIRST_BOXES:
        return False
    end = file.seek(0, os.SEEK_END)
    tracks = [
        place[1:]
        for name, start, stop in _boxes(file, 0, end)
        if name == b"moov"
        for place in _boxes(file, start, stop)
        if place[0] == b"trak"
    ]
    return any(_coding(file, *track) and _is_uncommon(_edits(file, *track)) for track in tracks)


def _is_uncommon(edits: list[tuple[bool, int]]) -> bool:
    return any(rate not in _NORMAL_SPEEDS for is_empty, rate in edits if not is_empty) or any(
        is_empty for is_empty, _ in edits[1:-1]
    )


def _edits(file: BinaryIO, start: int, end: int) -> list[tuple[bool, int]]:
    """Return, for each edit, whether it is empty (a pause), and its speed as a fixed-point number (16.16 bits)."""
    list_box = _inner(file, start, end, b"edts")
    place = _inner(file, *list_box, b"elst") if list_box else None
    if place is None:
        return []
    table = read_at(file, place[0], min(place[1] - place[0], _MAX_TABLE_BYTES))
    width = 8 if table[:1] == b"\1" else 4
    count = min(int.from_bytes(table[4:8], "big"), (len(table) - 8) // (2 * width + 4))
    entries = (table[8 + n * (2 * width + 4) :] for n in range(count))
    return [
        (entry[width : 2 * width] == b"\xff" * width, int.from_bytes(entry[2 * width : 2 * width + 4], "big"))
        for entry in entries
    ]


def _coding(file: BinaryIO, start: int, end: int) -> str:
    media = _inner(file, start, end, b"mdia")
    if media is None:
        return ""
    handler = _inner(file, *media, b"hdlr")
    if handler is None or read_at(file, handler[0] + 8, 4) != b"soun":
        return ""
    place: tuple[int, int] | None = media
    for name in (b"minf", b"stbl", b"stsd"):
        place = _inner(file, *place, name) if place else None
    if place is None:
        return ""
    table = read_at(file, place[0], min(place[1] - place[0], _MAX_TABLE_BYTES))
    code = table[12:16]
    coding = MP4_CODINGS.get(code, repr(code.decode("ascii", "replace").strip()))
    if code == b"mp4a" and (at := table.find(b"esds")) >= 0:
        config = table[at + 4 :]
        # The decoder config descriptor consists of the tag 4, a length of up to 4 bytes, and the object type. The loop
        # removes the leading length bytes (0x80), so that the type is 2 bytes after the tag.
        tag = config.find(b"\x04", 4)
        while tag >= 0 and config[tag + 1 : tag + 2] == b"\x80":
            config = config[: tag + 1] + config[tag + 2 :]
        coding = MP4A_OBJECTS.get(config[tag + 2] if 0 <= tag < len(config) - 2 else 0, coding)
    return coding


def _inner(file: BinaryIO, start: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    return next(((first, last) for name, first, last in _boxes(file, start, end) if name == wanted), None)


def _boxes(file: BinaryIO, at: int, end: int) -> list[tuple[bytes, int, int]]:
    """Return the boxes in a byte range as (name, start of the content, end of the content)."""
    found: list[tuple[bytes, int, int]] = []
    while at + 8 <= end and len(found) < _MAX_BOXES:
        head = read_at(file, at, 16)
        size, start = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, start = int.from_bytes(head[8:16], "big"), at + 16
        stop = end if size == 0 else at + size
        if stop < start:
            break
        found.append((head[4:8], start, min(stop, end)))
        at = stop
    return found
