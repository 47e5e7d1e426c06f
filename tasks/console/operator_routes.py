"""Routes for the operator's pages: overview, failures by reason, state of the key, webhooks, and live updates."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Request
from starlette.responses import StreamingResponse

from tasks.api.authentication import AnyRole, Observer, Operator
from tasks.api.body import JsonRoute
from tasks.api.context import Context
from tasks.api.problems import Problem
from tasks.console.browser_guard import login_lasts
from tasks.console.failure_groups import FailureReader
from tasks.console.overview import Overview
from worker.errors import LedgerUnavailable
from worker.http_keys import Principal
from worker.ledger.key_breaker import KeyBreaker
from worker.realtime import json_codec
from worker.webhooks.outbox import Message

router: Final = APIRouter(include_in_schema=False, route_class=JsonRoute)
MAX_WEBHOOKS: Final = 500
OVERVIEW_S: Final = 2.0
"""Seconds between two overviews on a stream."""
CHANGES_S: Final = 0.5
"""Minimum seconds between two messages with changed jobs."""
MAX_CHANGES: Final = 500
CHECK_S: Final = 5.0
"""Seconds between two checks whether the session of a stream has ended."""
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def overview_of(request: Request) -> Overview:
    found: Overview = request.app.state.console_overview
    return found


@router.get("/console/overview")
async def overview(request: Request, principal: Observer) -> dict[str, Any]:
    return await overview_of(request).read()


@router.get("/console/events")
async def events(request: Request, context: Context, principal: AnyRole) -> StreamingResponse:
    """Stream `overview`, and `jobs` with the ids of jobs that changed (no ids for a key that sees only its own)."""

    async def valid() -> bool:
        return await login_lasts(request, principal)

    stream = _stream(context.hub.listen(CHANGES_S), overview_of(request), principal, valid)
    return StreamingResponse(stream, media_type="text/event-stream", headers=_HEADERS)


async def _stream(
    changes: AsyncIterator[Any], source: Overview, principal: Principal, valid: Callable[[], Awaitable[bool]]
) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    checked_at, shown_at, told_at, changed = loop.time(), 0.0, 0.0, dict[str, None]()
    yield b"retry: 1500\n\n"
    async for fields in changes:
        now = loop.time()
        if fields is not None and fields.get("job") and len(changed) < MAX_CHANGES:
            changed[fields["job"]] = None
        if changed and now - told_at >= CHANGES_S:
            ids = list(changed) if principal.sees_all else []
            changed, told_at = {}, now
            yield _event("jobs", {"ids": ids})
        if now - shown_at >= OVERVIEW_S:
            shown_at = now
            try:
                yield _event("overview", await source.read()) if principal.sees_all else b": waiting\n\n"
            except LedgerUnavailable:
                yield b": Redis does not answer\n\n"
        if now - checked_at >= CHECK_S:
            checked_at = now
            if not await valid():
                return


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json_codec.dumps(data)}\n\n".encode("utf-8", "replace")


def _failures(request: Request) -> FailureReader:
    found: FailureReader = request.app.state.console_failures
    return found


@router.get("/console/failures")
async def failures(request: Request, principal: Observer) -> dict[str, Any]:
    """Group the newest failed and incomplete jobs by reason."""
    return await _failures(request).groups()


@router.post("/console/failures/retry")
async def retry_failures(
    request: Request,
    principal: Operator,
    code: Annotated[str, Body(max_length=200)],
    reason: Annotated[str, Body(max_length=4000)],
) -> dict[str, Any]:
    """Queue all jobs of a group again."""
    return {"retried": await _failures(request).retry(code, reason)}


@router.get("/console/webhooks")
async def webhooks(context: Context, principal: Observer) -> dict[str, Any]:
    waiting = await context.outbox.list_messages(dead=False, limit=MAX_WEBHOOKS)
    dead = await context.outbox.list_messages(dead=True, limit=MAX_WEBHOOKS)
    return {"waiting": list(map(_shown, waiting)), "dead": list(map(_shown, dead))}


def _shown(message: Message) -> dict[str, Any]:
    names = ("id", "to", "attempts", "subject", "due_at", "reason", "dead")
    return {name: getattr(message, name) for name in names}


@router.post("/console/webhooks/retry")
async def retry_webhooks(
    context: Context, principal: Operator, ids: Annotated[list[str], Body(embed=True, max_length=MAX_WEBHOOKS)]
) -> dict[str, Any]:
    return {"queued": await context.outbox.requeue(ids)}


@router.post("/console/keys/{name}/probe")
async def probe_key(
    context: Context, principal: Operator, name: Annotated[str, Path(pattern="^[0-9a-f]{16}$")]
) -> dict[str, Any]:
    """Let the next job probe a paused key at once."""
    state = await KeyBreaker(context.settings, context.connection, name).force()
    if not state.paused:
        raise Problem(409, f"the key {name} is not paused", code="key_not_paused")
    return asdict(state)


__all__ = ["router"]
