"""Files that libsndfile would read wrongly or only in part: told by their bytes, and shown to it as it needs them.

Found with libsndfile 1.2.2, each silent: of an MP3 without a length tag it decodes as many samples as the size of the
first frames suggests (half of a variable-rate file may be missing); of MP3 or Ogg files joined end to end only the
first; of a WAV whose recorder never wrote the size nothing at all, and of a WAV or FLAC whose header says less than
there is no more than that. Ogg files cut off look whole.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.audio import flac, mp3, ogg
from worker.errors import SourceError

_WAV_HEADER_BYTES: Final = 4096
_LEAST_REST_BYTES: Final = 1024
_NOT_CLOSED: Final = (
    "the header gives no length (the recording was not closed); everything to the end of the file is read"
)
_MORE_THAN_SAID: Final = "the header promises less audio than the file holds; everything to the end of the file is read"


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `end` of a file, after `head`: what libsndfile is shown as one file."""

    start: int
    end: int
    head: bytes = b""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a file is to be read. No parts: libsndfile opens the file by its path."""

    parts: tuple[Part, ...] = ()
    warnings: tuple[str, ...] = ()


class PartFile:
    """A `Part` as a read-only file object, as much of one as python-soundfile asks for."""

    def __init__(self, path: Path, part: Part) -> None:
        self._file = path.open("rb")
        self._part = part
        self._size = len(part.head) + part.end - part.start
        self._at = 0

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
            self._file.seek(self._part.start + max(0, self._at - len(head)))
            data += self._file.read(wanted)
        self._at += len(data)
        return data

    def close(self) -> None:
        self._file.close()


def plan_of(path: Path) -> Plan:
    """Look at the file's bytes: its first page, and for MP3 and Ogg where needed all frame or page headers (up to 0.1 s
    for an hour of audio). Raises SourceError when the disk fails."""
    try:
        with path.open("rb") as file:
            start = file.read(_WAV_HEADER_BYTES)
        if start[:4] == b"OggS":
            return _ogg_plan(path)
        if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
            return _wav_plan(path, start)
        if start[:4] == b"fLaC":
            return _flac_plan(path)
        if start[:3] == b"ID3" or mp3.is_header(start[:4]):
            return _mp3_plan(path)
    except OSError as exc:
        raise SourceError(f"{path}: cannot be read: {exc.strerror}") from exc
    return Plan()


def _mp3_plan(path: Path) -> Plan:
    layout = mp3.examine(path)
    if layout is None or layout.trusted:
        return Plan()
    return Plan((Part(layout.audio_start, layout.end, head=layout.length_frame()),))


def _ogg_plan(path: Path) -> Plan:
    links, complete = ogg.links(path)
    warnings = () if complete else ("the file has no end mark: it is cut off, or a live stream was saved",)
    return Plan(tuple(Part(start, end) for start, end in links) if len(links) > 1 else (), warnings=warnings)


def _flac_plan(path: Path) -> Plan:
    """With a length of 0 in the header libsndfile reads to the end of the file."""
    length = flac.length_of(path)
    if length is None or not 0 < length.said < length.there:
        return Plan()
    part = Part(len(length.unsaid_head), path.stat().st_size, length.unsaid_head)
    return Plan((part,), warnings=(_MORE_THAN_SAID,))


def _wav_plan(path: Path, start: bytes) -> Plan:
    """A recorder that was killed leaves a data size of 0, or one that is too small; shown as unknown, libsndfile reads
    to the end of the file."""
    at = 12
    while at + 8 <= len(start):
        name, size = start[at : at + 4], int.from_bytes(start[at + 4 : at + 8], "little")
        if name == b"data":
            file_size = path.stat().st_size
            if file_size <= at + 8 or (size and not _goes_on(path, at + 8 + size, file_size)):
                return Plan()
            head = start[: at + 4] + b"\xff\xff\xff\xff"
            return Plan((Part(at + 8, file_size, head),), warnings=(_MORE_THAN_SAID if size else _NOT_CLOSED,))
        at += 8 + size + size % 2
    return Plan()


def _goes_on(path: Path, end: int, file_size: int) -> bool:
    """Whether audio follows behind the place where a header ends it: no further chunk and no tag, and not just a few
    bytes."""
    if file_size - end < _LEAST_REST_BYTES:
        return False
    with path.open("rb") as file:
        file.seek(end)
        rest = file.read(_LEAST_REST_BYTES)
    if rest.startswith((b"ID3", b"TAG", b"APETAGEX")) or not any(rest):
        return False
    return not any(_is_chunk(rest[pad : pad + 8], file_size - end - pad) for pad in (0, 1))


def _is_chunk(head: bytes, left: int) -> bool:
    return all(0x20 <= byte < 0x7F for byte in head[:4]) and 8 + int.from_bytes(head[4:8], "little") <= left + 1
