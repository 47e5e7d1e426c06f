"""Routes for health, readiness and metrics."""

from __future__ import annotations

import asyncio
from typing import Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from tasks.api.authentication import SECURITY, Observer
from tasks.api.context import Context
from tasks.api.responses import errors
from worker import metrics
from worker.errors import LedgerUnavailable, SettingsError
from worker.ledger.keys import Keys
from worker.version import installed_version

router: Final = APIRouter(tags=["operation"])
READY_TIMEOUT_S: Final = 3.0


class Health(BaseModel):
    """Whether this process serves requests."""

    status: Literal["ok", "unavailable"]
    version: str
    problem: str | None = Field(default=None, description="why the process is not ready")


@router.get("/healthz", response_model=Health)
async def health() -> Health:
    """Whether the process is alive. Needs no key."""
    return Health(status="ok", version=installed_version() or "0")


@router.get(
    "/readyz",
    response_model=Health,
    responses={503: {"model": Health, "description": "Redis is away or refuses writes"}},
)
async def ready(context: Context) -> Response:
    """Whether the process can accept jobs: Redis answers and accepts writes. Needs no key."""
    problem: str | None = None
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            await context.connection.check_writable(Keys(context.settings.redis_prefix)["queue"])
    except TimeoutError:
        problem = f"Redis does not answer within {READY_TIMEOUT_S:g} s"
    except (LedgerUnavailable, SettingsError) as exc:
        problem = _without_address(str(exc), context.connection.address)
    if context.hub.closing.is_set():
        problem = "the process stops"
    found = Health(status="unavailable" if problem else "ok", version=installed_version() or "0", problem=problem)
    return Response(found.model_dump_json(), 503 if problem else 200, media_type="application/json")


def _without_address(reason: str, address: str) -> str:
    """Return the reason of an outage without the address of Redis, which concerns no client without a key."""
    for text in (f" at {address}", f" (it is {address})"):
        reason = reason.replace(text, "")
    # The reasons of the operating system contain the address in other forms.
    return "Redis does not answer" if "does not answer" in reason or address in reason else reason


@router.get(
    "/metrics",
    dependencies=SECURITY,
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Metrics for Prometheus"}, **errors()},
)
async def measured(request: Request, context: Context, principal: Observer) -> Response:
    """The metrics of this process for Prometheus. STT_METRICS_PORT serves them without a key."""
    metrics.HTTP_FOLLOWERS.set(context.hub.followers)
    body, content_type = metrics.exposition(metrics.WORKER, request.headers.get("Accept", ""))
    return Response(body, headers={"Content-Type": content_type})


__all__ = ["router"]
