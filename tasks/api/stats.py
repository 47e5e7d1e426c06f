"""The route with the statistics of the queue."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel, Field

from tasks.api.authentication import SECURITY, AnyRole, Observer
from tasks.api.context import Context
from tasks.api.responses import errors
from worker.http_keys import Role
from worker.ledger.key_breaker import paused_keys
from worker.version import installed_version

router: Final = APIRouter(tags=["operation"], dependencies=SECURITY)


class PausedKey(BaseModel):
    """A key of the real-time service that is paused, because the service refuses it. Times in seconds since 1970."""

    name: str = Field(description="hash of the key")
    code: str
    reason: str
    since_at: float
    next_probe_at: float


class Stats(BaseModel):
    """Numbers of unfinished jobs and webhooks at this moment."""

    queued: int = Field(description="jobs that wait for a worker")
    delayed: int = Field(description="jobs that join the queue after a delay")
    running: int
    oldest_s: float = Field(description="seconds since the oldest queued job was submitted")
    messages: int = Field(description="messages in the queue")
    webhooks: int = Field(description="webhooks that wait for delivery")
    webhooks_dead: int
    dead_letters: int = Field(description="queue messages that no worker could read")
    followers: int = Field(description="clients that follow events of this process")
    paused_keys: list[PausedKey]


class Identity(BaseModel):
    """The key of this request."""

    name: str
    role: Role
    version: str


@router.get("/v1/stats", response_model=Stats, responses=errors())
async def stats(context: Context, principal: Observer) -> Stats:
    """Return the numbers of jobs, messages and webhooks."""
    found = await context.queue_stats.read()
    keys = await paused_keys(context.settings, context.connection)
    return Stats(
        queued=found.queued,
        delayed=found.delayed,
        running=found.running,
        oldest_s=round(max(0.0, found.oldest_s), 3),
        messages=found.messages,
        webhooks=found.webhooks,
        webhooks_dead=found.webhooks_dead,
        dead_letters=found.dead_letters,
        followers=context.hub.followers,
        paused_keys=[
            PausedKey(
                name=key.name,
                code=key.code,
                reason=key.reason,
                since_at=key.since_at,
                next_probe_at=key.next_probe_at,
            )
            for key in keys
        ],
    )


@router.get("/v1/me", response_model=Identity, responses=errors())
async def me(principal: AnyRole) -> Identity:
    """Return the name and the role of the key."""
    return Identity(name=principal.name, role=principal.role, version=installed_version() or "0")


__all__ = ["router"]
