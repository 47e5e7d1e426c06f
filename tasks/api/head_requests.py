"""Middleware that answers HEAD like GET without a body, on every route that has GET."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _HeadersSent(Exception):
    """Ends the handler after the headers of its response, before the body is made."""


class HeadRequests:
    """ASGI middleware. It ends the handler at the headers: no audio is read, and no stream of events begins."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def headers_only(message: Message) -> None:
            # The server reads the method of the same scope; after HEAD it expects no body.
            scope["method"] = "HEAD"
            await send(message)
            await send({"type": "http.response.body"})
            raise _HeadersSent

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, headers_only)
        except _HeadersSent:
            pass
        finally:
            scope["method"] = "HEAD"


__all__ = ["HeadRequests"]
