"""Middleware that limits how long a request waits for Redis, so that its client gets 503 soon."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from worker.ledger.command_limit import command_limit

COMMAND_S: Final = 10.0
"""Maximum seconds of one command to Redis with its retries. Long enough that a short restart of Redis only delays
requests."""


class RedisTimeLimit:
    """ASGI middleware that applies COMMAND_S to the Redis commands of each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with command_limit(COMMAND_S):
            await self._app(scope, receive, send)


__all__ = ["RedisTimeLimit"]
