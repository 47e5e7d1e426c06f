"""Routes for events as server-sent events (SSE).

A client that reconnects with `Last-Event-ID` gets each commit exactly once, because commits are read from the ledger
after that id. Progress and state are sent as they are at the moment; intermediate values may be missing.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from starlette.responses import StreamingResponse

from tasks.api.authentication import SECURITY, AnyRole, Observer
from tasks.api.context import ApiContext, Context
from tasks.api.event_hub import JobFeed
from tasks.api.event_hub import position as numbers_of
from tasks.api.job_documents import status_of
from tasks.api.jobs import JobIdPath, find_job
from tasks.api.problems import Problem
from tasks.api.responses import errors
from worker.errors import LedgerUnavailable
from worker.http_keys import Principal
from worker.ledger.ledger import CommitEntry, JobRecord
from worker.realtime import json_codec

_log: Final = structlog.get_logger(__name__)
router: Final = APIRouter(tags=["events"], dependencies=SECURITY)
HEARTBEAT_S: Final = 15.0
"""Seconds between two comments to a client without events, so that no proxy closes the connection."""
RETRY_MS: Final = 1_000
CHECK_S: Final = 5.0
"""Minimum seconds between two checks whether the session of a client has ended."""
_EVENT_ID: Final = re.compile(r"^[0-9]{1,20}-[0-9]{1,20}(\.end)?$")
MAX_ID: Final = (1 << 64) - 1
"""Maximum of the two numbers in an id of a stream of Redis."""
_START: Final = "0-0"
_END: Final = ".end"
"""Ends the id of the last event of a job."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/event-stream": {}}, "description": "A stream of events"},
}
_ENDED: Final[dict[int | str, dict[str, Any]]] = {204: {"description": "All events of this job were received"}}


@router.get(
    "/v1/jobs/{job_id}/events", response_class=StreamingResponse, responses={**_STREAM, **_ENDED, **errors(404, 422)}
)
async def job_events(
    request: Request,
    context: Context,
    principal: AnyRole,
    job_id: JobIdPath,
    last_event_id: Annotated[
        str | None,
        Header(pattern=_EVENT_ID.pattern, description="id of the last received event", examples=["1795954894273-0"]),
    ] = None,
    after: Annotated[
        str | None, Query(pattern=_EVENT_ID.pattern, description="as Last-Event-ID, for a first connection")
    ] = None,
) -> Response:
    """Follow a job: `commit` (a segment, with an id), `progress`, `status` (the job) and, at last, `end` (the job)."""
    record = await find_job(context, principal, job_id)
    given = last_event_id or after
    position = given.removesuffix(_END) if given else _START
    numbers = set(numbers_of(position))
    if max(numbers) > MAX_ID or numbers == {MAX_ID}:  # Redis refuses to read after the greatest possible id
        raise Problem(422, f"Last-Event-ID: {position} is not an id of this stream; omit it to start from the first")
    if given and given.endswith(_END) and record.state.ended:
        return Response(status_code=204)  # an EventSource then connects no more
    return _stream(_guarded(request, context, principal, _follow(context, record, position)))


@router.get("/v1/events", response_class=StreamingResponse, responses={**_STREAM, **errors()})
async def all_events(request: Request, context: Context, principal: Observer) -> Response:
    """Follow the events of all jobs, without the texts. Events may be missing; the records of the jobs are exact."""
    return _stream(_guarded(request, context, principal, _listen(context)))


def _stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(events, media_type="text/event-stream", headers=_HEADERS)


async def _guarded(
    request: Request, context: ApiContext, principal: Principal, events: AsyncGenerator[bytes]
) -> AsyncIterator[bytes]:
    """Yield the events until the end of the session, and an error as an event."""
    loop = asyncio.get_running_loop()
    checked_at = loop.time()
    yield f"retry: {RETRY_MS}\n\n".encode()
    try:
        async for part in events:
            if context.login_lasts is not None and loop.time() - checked_at >= CHECK_S:
                checked_at = loop.time()
                if not await context.login_lasts(request, principal):
                    return
            yield part
    except Problem as exc:  # the response has begun, so the status cannot change any more
        yield _event("error", {"detail": exc.detail, "code": exc.code})
    except LedgerUnavailable as exc:
        _log.warning("events: a client must connect again", error=str(exc))
    finally:
        await events.aclose()


async def _follow(context: ApiContext, record: JobRecord, position: str) -> AsyncGenerator[bytes]:
    async with context.hub.follow(record, position) as feed:
        async for part in _parts(context, feed, position):
            yield part


async def _parts(context: ApiContext, feed: JobFeed, position: str) -> AsyncIterator[bytes]:
    status: tuple[Any, ...] = ()
    progress: object = None
    while not context.hub.closing.is_set():
        version = feed.version
        ended = feed.ended
        entries = feed.newer(position)
        if entries is None:  # further behind than the feed remembers
            entries, last = await context.producer.commits_after(feed.job_id, position)
            ended = ended and last
        if entries:
            position = entries[-1].stream_id
            yield b"".join(map(_commit, entries))
            if feed.newer(position) is None:
                continue
        now = (feed.record.state, feed.record.attempts, feed.record.paused)
        if now != status and not ended:
            status = now
            yield _event("status", status_of(feed.record, context.settings).model_dump(mode="json"))
        if feed.progress is not progress and feed.progress and not ended:
            progress = feed.progress
            yield _event("progress", _numbers(feed.progress))
        if ended and feed.version == version and feed.fresh:
            yield _end(context, feed, position)
            return
        if feed.version == version and not await feed.wait(version, HEARTBEAT_S):
            yield b": waiting\n\n"


async def _listen(context: ApiContext) -> AsyncGenerator[bytes]:
    async for fields in context.hub.listen(HEARTBEAT_S):
        if fields is None:
            yield b": waiting\n\n"
        else:
            shown = {name: value for name, value in fields.items() if name not in ("text", "partial")}
            yield _event(fields.get("event", "event"), _numbers(shown))


def _commit(entry: CommitEntry) -> bytes:
    # A segment is JSON on one line: JSON escapes line breaks.
    return f"id: {entry.stream_id}\nevent: commit\ndata: {entry.segment}\n\n".encode("utf-8", "replace")


def _end(context: ApiContext, feed: JobFeed, position: str) -> bytes:
    if feed.gone:
        return _event("end", {"id": feed.job_id, "state": None, "error": "the job has expired"}, position + _END)
    document = status_of(feed.record, context.settings).model_dump(mode="json")
    return _event("end", document, position + _END)


def _event(name: str, data: Any, event_id: str = "") -> bytes:
    head = f"id: {event_id}\n" if event_id else ""
    return f"{head}event: {name}\ndata: {json_codec.dumps(data)}\n\n".encode()


def _numbers(fields: Any) -> dict[str, Any]:
    """Convert the seconds in the fields of an event to numbers."""
    return {name: _number(value) if name.endswith("_s") else value for name, value in fields.items()}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


__all__ = ["router"]
