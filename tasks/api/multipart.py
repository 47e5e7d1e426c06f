"""Reads multipart/form-data part by part while it arrives. At most one chunk of a file is in memory."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from tasks.api.body import chunks_of
from tasks.api.problems import Problem

Buffer = bytes | bytearray | memoryview
"""A part of a body. A `memoryview` saves a copy of each chunk."""
MAX_FIELD_BYTES: Final = 1 << 20
"""Maximum bytes of a field that is not a file."""
MAX_FIELDS_BYTES: Final = 4 << 20
"""Maximum bytes of all such fields of one request."""
MAX_PARTS: Final = 2_000
_ENCODED_NAME: Final = re.compile(r"filename\*\s*=\s*utf-8'[^';]*'([^;\s]*)", re.IGNORECASE)


@dataclass(slots=True)
class FilePart:
    """One file of the form. Its `chunks` must be read before the next part."""

    field: str
    name: str
    chunks: AsyncIterator[Buffer]


@dataclass(slots=True)
class _Part:
    headers: dict[str, str] = field(default_factory=dict)
    disposition: dict[str, str] = field(default_factory=dict)


def boundary_of(request: Request) -> bytes | None:
    """Return the boundary of a multipart request, or None for another content type. Raises Problem 400."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data":
        return None
    boundary = options.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise Problem(400, "the Content-Type multipart/form-data has no valid boundary")
    return boundary


class MultipartReader:
    """Reads the parts of one request."""

    def __init__(self, request: Request, boundary: bytes) -> None:
        self._stream = chunks_of(request)
        self._events: deque[tuple[str, Buffer]] = deque()
        self._name, self._value = b"", b""
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": lambda: self._events.append(("begin", b"")),
                    "on_part_data": lambda data, start, end: self._events.append(("data", memoryview(data)[start:end])),
                    "on_part_end": lambda: self._events.append(("end", b"")),
                    "on_header_field": self._header_name,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": lambda: self._events.append(("headers", b"")),
                    "on_end": self._end,
                },
            )
        except MultipartParseError as exc:
            raise Problem(400, f"the boundary is not valid: {exc}") from None

    async def read(self, on_file: Callable[[FilePart], Awaitable[None]]) -> list[tuple[str, str]]:
        """Read the whole form. `on_file` is awaited for each file. Returns the other fields in order.

        Raises Problem 400, 408 and 413, and the errors of `on_file`."""
        fields: list[tuple[str, str]] = []
        size = parts = 0
        while (part := await self._next_part()) is not None:
            parts += 1
            if parts > MAX_PARTS:
                raise Problem(413, f"the form has more than {MAX_PARTS} parts; send the options as one field `job`")
            name = part.disposition.get("name", "")
            if "filename" in part.disposition:
                one = FilePart(name, part.disposition["filename"], self._data())
                await on_file(one)
                async for _ in one.chunks:  # what `on_file` has not read
                    pass
                continue
            value = bytearray()
            async for chunk in self._data():
                value += chunk
                size += len(chunk)
                if len(value) > MAX_FIELD_BYTES or size > MAX_FIELDS_BYTES:
                    raise Problem(
                        413, f"the field {name!r} is too long; send audio as a file with a file name", param=name
                    )
            try:
                fields.append((name, value.decode()))
            except UnicodeDecodeError:
                raise Problem(400, f"the field {name!r} is not UTF-8", param=name) from None
        return fields

    async def _next_part(self) -> _Part | None:
        part = _Part()
        while True:
            kind, data = await self._event()
            if kind == "over":
                return None
            if kind == "header":
                name, _, value = bytes(data).partition(b":")
                part.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
            if kind == "headers":
                part.disposition = _disposition(part.headers.get("content-disposition", ""))
                coding = part.headers.get("content-transfer-encoding", "binary").strip().lower()
                if coding not in ("binary", "8bit", "7bit"):
                    raise Problem(400, f"Content-Transfer-Encoding {coding[:40]!r} is not supported; send raw bytes")
                return part

    async def _data(self) -> AsyncIterator[Buffer]:
        while True:
            kind, data = await self._event()
            if kind == "data":
                yield data
            elif kind in ("end", "over"):
                if kind == "over":
                    self._events.append(("over", b""))
                return

    async def _event(self) -> tuple[str, Buffer]:
        while not self._events:
            chunk = await anext(self._stream, b"")
            try:
                if chunk:
                    self._parser.write(chunk)
                elif self._ended:
                    return "over", b""
                else:
                    self._ended = True
                    self._parser.finalize()
                    raise Problem(400, "the form ends before its last boundary")
            except MultipartParseError as exc:
                raise Problem(400, f"the form is not valid multipart/form-data: {exc}") from None
        return self._events.popleft()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._events.append(("header", self._name + b":" + self._value))
        self._name = self._value = b""

    def _end(self) -> None:
        self._ended = True
        self._events.append(("over", b""))


def _disposition(header: str) -> dict[str, str]:
    """Return the parameters of the header Content-Disposition. Browsers and curl send names in UTF-8."""
    _, options = parse_options_header(header.encode("latin-1"))
    found = {
        name.decode("ascii", "replace").lower(): value.decode("utf-8", "replace") for name, value in options.items()
    }
    # Some older programs send only the encoded form of RFC 5987, which the library leaves out.
    encoded = _ENCODED_NAME.search(header)
    if encoded is not None:
        found.setdefault("filename", unquote(encoded[1]))
    return found


__all__ = ["Buffer", "FilePart", "MultipartReader", "boundary_of"]
