"""The pages of an Ogg file: where its links (streams joined end to end) lie, and whether it has its end mark.

Page layout: RFC 3533, section 6.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_HEADER_BYTES: Final = 27
_LONGEST_PAGE: Final = _HEADER_BYTES + 255 + 255 * 255
_FIRST, _LAST = 2, 4  # header_type_flag: first page and last page of a logical stream


def links(path: Path) -> tuple[list[tuple[int, int]], bool]:
    """The links of the file as byte ranges (start, end), and whether the last one is ended by an end mark.

    Damaged stretches are passed over to the next page. The file is read once, a megabyte at a time.
    """
    starts: list[int] = []
    ended = False
    in_headers = False
    size = path.stat().st_size
    with path.open("rb", buffering=1 << 20) as file:
        at = 0
        while at < size:
            file.seek(at)
            header = file.read(_HEADER_BYTES)
            if header[:4] != b"OggS" or len(header) < _HEADER_BYTES:
                following = _next_page(path, at)
                if following is None:
                    break
                at = following
                continue
            segments = file.read(header[26])
            end = at + _HEADER_BYTES + len(segments) + sum(segments)
            first = bool(header[5] & _FIRST)
            if first and not in_headers:  # streams side by side start together; one after others is a new link
                starts.append(at)
            in_headers = first
            ended = bool(header[5] & _LAST) and end <= size
            at = end
    return list(zip(starts, [*starts[1:], size], strict=False)), ended


def _next_page(path: Path, at: int) -> int | None:
    with path.open("rb") as file:
        file.seek(at + 1)
        while chunk := file.read(2 * _LONGEST_PAGE):
            found = chunk.find(b"OggS")
            if found >= 0:
                return file.tell() - len(chunk) + found
            if len(chunk) < 2 * _LONGEST_PAGE:
                return None
            file.seek(-3, 1)
    return None
