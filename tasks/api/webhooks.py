"""Routes of webhooks: undelivered ones, and sending dead letters again."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from tasks.api.authentication import SECURITY, Observer, Operator
from tasks.api.body import JsonRoute
from tasks.api.context import Context
from tasks.api.responses import errors
from worker.webhooks.outbox import Message

router: Final = APIRouter(tags=["webhooks"], dependencies=SECURITY, route_class=JsonRoute)
MAX_IDS: Final = 1_000
MessageId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9._-]+$")]


class WebhookDocument(BaseModel):
    """A webhook that is not delivered."""

    id: str
    state: Literal["waiting", "dead"] = Field(description="dead: it is not tried again by itself")
    to: str = Field(description="receiver, without secrets")
    subject: str = Field(description="id of the job or batch, or hash of the API key")
    attempts: int
    due_at: float = Field(description="time of the next attempt, or of the last failure of a dead one")
    reason: str | None = Field(description="why the last attempt failed")


class WebhookList(BaseModel):
    """Undelivered webhooks."""

    webhooks: list[WebhookDocument]


class RetryWebhooks(BaseModel):
    """Which dead letters to send again."""

    ids: list[MessageId] = Field(default=[], max_length=MAX_IDS)
    all: bool = Field(default=False, description="all dead letters")


class RetriedWebhooks(BaseModel):
    """Dead letters that are sent again."""

    queued: list[str]


@router.get("/v1/webhooks", response_model=WebhookList, responses=errors(422))
async def list_webhooks(
    context: Context,
    principal: Observer,
    limit: Annotated[int, Query(ge=1, le=1_000, description="maximum number of each state")] = 100,
) -> WebhookList:
    """List the webhooks that wait for delivery, and the dead letters."""
    waiting = await context.outbox.list_messages(dead=False, limit=limit)
    dead = await context.outbox.list_messages(dead=True, limit=limit)
    return WebhookList(webhooks=[_document(one) for one in (*waiting, *dead)])


@router.post("/v1/webhooks/retry", response_model=RetriedWebhooks, responses=errors(400, 408, 413, 422))
async def retry_webhooks(context: Context, principal: Operator, wanted: RetryWebhooks) -> RetriedWebhooks:
    """Send dead letters again, by their ids or all of them."""
    if not wanted.all:
        return RetriedWebhooks(queued=await context.outbox.requeue(wanted.ids))
    queued: list[str] = []
    while found := await context.outbox.list_messages(dead=True):
        new = await context.outbox.requeue([one.id for one in found])
        queued += new
        if not new:
            break
    return RetriedWebhooks(queued=queued)


def _document(message: Message) -> WebhookDocument:
    return WebhookDocument(
        id=message.id,
        state="dead" if message.dead else "waiting",
        to=message.to,
        subject=message.subject,
        attempts=message.attempts,
        due_at=message.due_at,
        reason=message.reason or None,
    )


__all__ = ["router"]
