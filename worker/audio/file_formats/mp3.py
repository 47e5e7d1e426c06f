"""Finds the recordings of an MP3 file (layer III) and checks their length tags."""

from __future__ import annotations

from typing import BinaryIO, Final

from worker.audio.file_formats.mp3_frames import (
    LENGTH_TAG_MARKS,
    MAX_FRAME_BYTES,
    parse,
    tag_bytes,
    tagged_bytes,
    tagged_frames,
)
from worker.audio.file_formats.mp3_recording import Mp3Recording
from worker.audio.file_formats.mp3_scan import Mp3Scanner
from worker.audio.opened_file import SourceFile

_SEARCH_BYTES: Final = 1 << 16
_PROBE_BYTES: Final = 2 * MAX_FRAME_BYTES + 8
_PROBE_EVERY_S: Final = 5.0
_MIN_PROBES: Final = 8
_TAG_SLACK: Final = 0.02  # a file may be longer than its length tag by this share: tags at the end, padding


def is_header(data: bytes) -> bool:
    """Whether `data` (four bytes) is a layer III frame header with a defined bit rate."""
    return parse(data) is not None


def scan_recordings(path: SourceFile, *, completely: bool = False) -> list[Mp3Recording]:
    """Find the recordings of an MP3 file, in order. The list is empty if there is no layer III frame near the start of
    the file.

    A new recording begins where rate or channels change, at each further length tag, and after tags that end a file. If
    a length tag agrees with the file size, only some kilobytes are read for every 5 s of audio, unless `completely` is
    set. Otherwise all frame headers are read, which takes about 0.1 s for an hour of audio.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = _after_id3_tags(file)
        file.seek(start)
        head = file.read(_SEARCH_BYTES)
        offset = _first_frame(head)
        if offset is None:
            return []
        tagged = None if completely else _as_tagged(head[offset:], start + offset, size)
        if tagged is not None and _is_uniform(file, tagged):
            return [tagged]
        return list(Mp3Scanner(file, start + offset, size).recordings())


def _after_id3_tags(file: BinaryIO) -> int:
    """Return the end of the ID3 tags at the start of a file. Some programs add a tag without removing the old one."""
    start = 0
    while True:
        file.seek(start)
        head = file.read(10)
        size = tag_bytes(head) if head[:3] == b"ID3" else 0
        if not size:
            return start
        start += size


def _as_tagged(head: bytes, start: int, size: int) -> Mp3Recording | None:
    """Return the whole file as one recording, with the values of its length tag. Returns None if there is no tag, or if
    the file is longer than the tag declares."""
    first = parse(head)
    if first is None or head[4 + first.side_bytes : 8 + first.side_bytes] not in LENGTH_TAG_MARKS:
        return None
    tag = head[: first.length]
    frames, count = tagged_frames(tag, first.side_bytes), tagged_bytes(tag, first.side_bytes)
    if not frames or not count or size - start > count * (1 + _TAG_SLACK):
        return None
    return Mp3Recording(head[:4], tag, start + len(tag), size, frames)


def _is_uniform(file: BinaryIO, tagged: Mp3Recording) -> bool:
    """Whether all frames have the same rate and channels, the declared number of frames fits their sizes, and no frame
    follows the end that the tag declares. Checks only some positions in the file."""
    like = tagged.first
    lengths: list[int] = []
    end = min(tagged.end, tagged.start + tagged_bytes(tagged.tag, like.side_bytes))
    probes = max(_MIN_PROBES, int(tagged.length_s / _PROBE_EVERY_S))
    step = max(_PROBE_BYTES, (end - tagged.audio_start) // probes)
    for at in range(tagged.audio_start, end - _PROBE_BYTES, step):
        file.seek(at)
        data = file.read(_PROBE_BYTES)
        found = _first_frame(data)
        frame = parse(data[found:]) if found is not None else None
        if frame is None or not like.is_similar(frame):
            return False
        lengths.append(frame.length)
    if lengths and not min(lengths) - 1 <= (end - tagged.audio_start) / tagged.frames <= max(lengths) + 1:
        return False
    file.seek(end)
    return _first_frame(file.read(tagged.end - end)) is None


def _first_frame(head: bytes) -> int | None:
    """Return the position of the first frame that is followed by a similar frame, or None if there is no such frame."""
    at = head.find(b"\xff")
    while at >= 0:
        frame = parse(head[at : at + 4])
        if frame and frame.is_similar(parse(head[at + frame.length : at + frame.length + 4])):
            return at
        at = head.find(b"\xff", at + 1)
    return None
