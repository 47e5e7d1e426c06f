"""Reads the pages of an Ogg file. Finds its links (successive streams), their positions, and the end mark of the last
page.

Source of the page layout: RFC 3533, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final, NamedTuple

from worker.audio.file_formats.ogg_granules import FIRST, LAST, OggPage, StreamPositions
from worker.audio.opened_file import SourceFile

_HEADER_BYTES: Final = 27
_MAX_PAGE_BYTES: Final = _HEADER_BYTES + 255 + 255 * 255
_DAMAGED: Final = "damaged Ogg pages"


@dataclass(slots=True)
class OggLink:
    """A link: streams that start together, and end before the streams of the next link start. Positions are bytes from
    the start of the file."""

    start: int
    end: int = 0
    streams: dict[bytes, StreamPositions] = field(default_factory=dict)

    @property
    def only(self) -> StreamPositions | None:
        """The stream of the link if it has only one stream, otherwise None. FFmpeg reads the audio and the timestamps
        of files with several streams, such as films."""
        return next(iter(self.streams.values())) if len(self.streams) == 1 else None


class OggLinks(NamedTuple):
    """The links of a file."""

    links: list[OggLink]
    is_ended: bool
    """Whether the last page has an end mark."""
    is_damaged: bool
    """Whether some bytes of the file belong to no intact page, or some pages belong to no stream."""


def links(path: SourceFile) -> OggLinks:
    """Find the links of the file. Reads the whole file once."""
    found: list[OggLink] = []
    in_headers = ended = was_damaged = any_damaged = False
    size = path.stat().st_size
    for page in _pages(path, size):
        if page is None:
            was_damaged = any_damaged = True
            continue
        first = bool(page.flags & FIRST)
        if first and not in_headers:  # parallel streams start together; a later start is a new link
            if found:
                found[-1].end = page.offset
            found.append(OggLink(page.offset))
        in_headers = first
        ended = bool(page.flags & LAST) and page.offset + len(page.data) <= size
        if found:
            _add(found[-1], page, first=first, was_damaged=was_damaged)
            any_damaged = any_damaged or page.serial not in found[-1].streams
        was_damaged = False
    if found:
        found[-1].end = size
    return OggLinks(found, ended, any_damaged)


def _add(link: OggLink, page: OggPage, *, first: bool, was_damaged: bool) -> None:
    stream = link.streams.get(page.serial)
    if first and (stream is None or not stream.is_repeated(page)):
        link.streams[page.serial] = StreamPositions(page)
    elif stream is not None:
        if was_damaged:
            stream.note_damage(_DAMAGED)
        stream.add(page)


def _pages(path: SourceFile, size: int) -> Iterator[OggPage | None]:
    """Yield the intact pages in order, and None for each damaged range."""
    with path.open("rb", buffering=1 << 20) as file:
        at = 0
        while at < size:
            page = _page(file, at)
            if page is not None and page.is_intact:
                yield page
                at += len(page.data)
                continue
            yield None
            following = _next_page(path, at)
            if following is None:
                return
            at = following


def _page(file: BinaryIO, at: int) -> OggPage | None:
    file.seek(at)
    header = file.read(_HEADER_BYTES)
    if header[:4] != b"OggS" or len(header) < _HEADER_BYTES:
        return None
    lacing = file.read(header[26])
    return OggPage(at, header + lacing + file.read(sum(lacing)))


def _next_page(path: SourceFile, at: int) -> int | None:
    with path.open("rb") as file:
        file.seek(at + 1)
        while chunk := file.read(2 * _MAX_PAGE_BYTES):
            found = chunk.find(b"OggS")
            if found >= 0:
                return file.tell() - len(chunk) + found
            if len(chunk) < 2 * _MAX_PAGE_BYTES:
                return None
            file.seek(-3, 1)
    return None
