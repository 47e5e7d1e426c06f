"""The objects that all handlers of one API process share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from tasks.api.event_hub import EventHub
from tasks.api.key_limits import KeyLimits
from tasks.api.source_policy import SourcePolicy
from tasks.api.submission import SubmissionQueue
from tasks.api.upload_registry import UploadRegistry
from tasks.api.upload_store import UploadStore
from tasks.client.control import Control
from tasks.client.producer import Producer
from worker.http_keys import Keyring, Principal, parse_keys
from worker.ledger.connection import RedisConnection
from worker.ledger.job_listing import JobListing
from worker.ledger.keys import Keys
from worker.ledger.ledger import Ledger
from worker.ledger.queue_stats import QueueStatsReader
from worker.settings import Settings
from worker.webhooks.outbox import Outbox

STOP_S: Final = 2.0


@dataclass(slots=True)
class ApiContext:
    """Belongs to one event loop. Created by `opened` when the application starts."""

    settings: Settings
    keyring: Keyring
    connection: RedisConnection
    producer: Producer
    control: Control
    submissions: SubmissionQueue
    policy: SourcePolicy
    uploads: UploadStore | None
    """None if STT_UPLOADS is empty."""
    registry: UploadRegistry
    hub: EventHub
    limits: KeyLimits
    listing: JobListing
    queue_stats: QueueStatsReader
    outbox: Outbox
    login: Callable[[HTTPConnection], Principal | None] | None = None
    """Returns the principal of a request without a key, such as one with the session cookie of the console."""
    login_lasts: Callable[[HTTPConnection, Principal], Awaitable[bool]] | None = None
    """Whether `login` would still return this principal. A stream of events ends when it does not."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def ledger(self) -> Ledger:
        return self.producer.ledger

    def begin_stop(self) -> None:
        """End all event streams, so that the process can stop. Clients reconnect to another process."""
        self.hub.close()


@asynccontextmanager
async def opened(settings: Settings, uploads: UploadStore | None) -> AsyncIterator[ApiContext]:
    """Open the connections and start the background tasks of an API process. `uploads`: that of `store_of`."""
    connection, producer = RedisConnection(settings.redis_url), Producer(settings)
    registry = UploadRegistry(settings, connection, producer.ledger, uploads)
    context = ApiContext(
        settings=settings,
        keyring=parse_keys(settings.http_keys.get_secret_value()),
        connection=connection,
        producer=producer,
        control=Control(producer),
        submissions=SubmissionQueue(producer),
        policy=SourcePolicy(settings),
        uploads=uploads,
        registry=registry,
        hub=EventHub(settings, producer),
        limits=KeyLimits(settings, connection, producer.ledger),
        listing=JobListing(connection, Keys(settings.redis_prefix), settings.result_ttl),
        queue_stats=QueueStatsReader(settings, connection),
        outbox=Outbox(settings, connection),
    )
    context.tasks |= {asyncio.create_task(context.hub.run()), asyncio.create_task(registry.run())}
    try:
        yield context
    finally:
        context.begin_stop()
        for task in context.tasks:
            task.cancel()
        await asyncio.wait(context.tasks, timeout=STOP_S)
        await context.hub.closed()
        await producer.events.close()
        await producer.close()
        await connection.close()


def context_of(request: HTTPConnection) -> ApiContext:
    """Return the context of the application that handles a request."""
    context: ApiContext = request.app.state.context
    return context


def _context(request: Request) -> ApiContext:
    return context_of(request)


Context = Annotated[ApiContext, Depends(_context)]
"""Type of a handler's parameter that receives the context."""

__all__ = ["ApiContext", "Context", "context_of", "opened"]
