"""The route that returns the audio of a job, whole or in ranges, so that a page can play any part of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from tasks.api.authentication import SECURITY, AnyRole
from tasks.api.context import ApiContext, Context
from tasks.api.job_documents import shown_source
from tasks.api.jobs import JobIdPath, find_job
from tasks.api.problems import Problem
from tasks.api.responses import errors
from tasks.job_spec import recorded
from worker.errors import SourceError
from worker.storage.address import Address
from worker.storage.sources.download import open_remote
from worker.storage.sources.local_file import open_local

router: Final = APIRouter(tags=["results"], dependencies=SECURITY)
CHUNK_BYTES: Final = 1 << 18
_RANGE: Final = re.compile(r"bytes=([0-9]*)-([0-9]*)")
_TYPES: Final = {
    **{"wav": "audio/wav", "mp3": "audio/mpeg", "flac": "audio/flac", "ogg": "audio/ogg", "oga": "audio/ogg"},
    **{"opus": "audio/ogg", "m4a": "audio/mp4", "mp4": "audio/mp4", "aac": "audio/aac", "webm": "audio/webm"},
    **{"aiff": "audio/aiff", "aif": "audio/aiff", "amr": "audio/amr", "mov": "video/quicktime"},
}
"""Media types by file name extension. Other files are sent as bytes: an uploaded page must not run as one."""
_CONTENT: Final[dict[str, Any]] = {
    "audio/*": {"schema": {"type": "string", "format": "binary"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The requested part of a file of `size` bytes: from `start` to before `end`."""

    start: int
    end: int
    size: int


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """Return the range of the header, or None for the whole file. Raises Problem 416 for a range outside of the file.

    Several ranges at once and other units are ignored, as RFC 9110 allows."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
        if found[2] and int(found[2]) < start:
            return None
    if start >= size or start >= end:
        raise Problem(416, f"the audio has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    return ByteRange(start, end, size)


@router.get(
    "/v1/jobs/{job_id}/audio",
    response_class=StreamingResponse,
    responses={
        200: {"content": _CONTENT, "description": "The whole audio"},
        206: {"content": _CONTENT, "description": "The requested range"},
        **errors(404, 416, 422),
    },
)
async def audio(
    context: Context,
    principal: AnyRole,
    job_id: JobIdPath,
    range: Annotated[
        str | None, Header(max_length=200, description="such as `bytes=0-1023`", examples=["bytes=0-1023"])
    ] = None,
) -> Response:
    """Return the audio of a job."""
    record = await find_job(context, principal, job_id)
    source = recorded(record.spec).source
    try:
        if source.is_file:
            return await _local(context, source, range)
        return await _remote(context, source, range)
    except SourceError as exc:
        # The folder of an upload concerns no client.
        reason = str(exc).replace(source.shown, shown_source(source.shown, context.settings))
        raise Problem(404, f"the audio of job {job_id} cannot be read: {reason}", code=exc.code) from None


async def _local(context: ApiContext, source: Address, header: str | None) -> Response:
    size = await asyncio.to_thread(_size, context, source)
    wanted = parse_range(header, size)
    start, end = (wanted.start, wanted.end) if wanted else (0, size)
    return _response(_file_chunks(context, source, start, end), source, wanted, size)


def _size(context: ApiContext, source: Address) -> int:
    with open_local(source, context.settings) as file:
        return file.stamp().size_bytes


async def _file_chunks(context: ApiContext, source: Address, start: int, end: int) -> AsyncIterator[bytes]:
    # Opened here and not before the response: a response that never starts would not close the file.
    file = await asyncio.to_thread(open_local, source, context.settings)
    with file, await asyncio.to_thread(file.open, "rb", 0) as reader:
        await asyncio.to_thread(reader.seek, start)
        while start < end:
            block = await asyncio.to_thread(reader.read, min(CHUNK_BYTES, end - start))
            if not block:  # the file became shorter; the client sees too few bytes
                return
            start += len(block)
            yield block


async def _remote(context: ApiContext, source: Address, header: str | None) -> Response:
    async with open_remote(source, context.settings) as body:
        size = body.version.size_bytes
    if size is None:  # without a length there are no ranges
        return _response(_remote_chunks(context, source, 0, None), source, None, None)
    wanted = parse_range(header, size)
    start, end = (wanted.start, wanted.end) if wanted else (0, size)
    return _response(_remote_chunks(context, source, start, end), source, wanted, size)


async def _remote_chunks(context: ApiContext, source: Address, start: int, end: int | None) -> AsyncIterator[bytes]:
    async with open_remote(source, context.settings, start) as body:
        at = body.offset
        async for chunk in body.chunks:
            # A server without ranges sends the content from its start.
            part = chunk[max(0, start - at) : None if end is None else max(0, end - at)]
            at += len(chunk)
            if part:
                yield part
            if end is not None and at >= end:
                return


def _response(
    chunks: AsyncIterator[bytes], source: Address, wanted: ByteRange | None, size: int | None
) -> StreamingResponse:
    name = source.name or "audio"
    headers = {
        "Accept-Ranges": "bytes" if size is not None else "none",
        "Content-Disposition": f"inline; filename*=UTF-8''{quote(name, safe='')}",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "private, no-cache",
    }
    if wanted is not None:
        headers["Content-Range"] = f"bytes {wanted.start}-{wanted.end - 1}/{wanted.size}"
        headers["Content-Length"] = str(wanted.end - wanted.start)
    elif size is not None:
        headers["Content-Length"] = str(size)
    kind = _TYPES.get(PurePosixPath(name).suffix.lower().lstrip("."), "application/octet-stream")
    return StreamingResponse(chunks, 200 if wanted is None else 206, headers, kind)


__all__ = ["parse_range", "router"]
