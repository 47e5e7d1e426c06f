"""Middleware that makes redirects relative to the address that the client used.

The framework redirects a path with a needless `/` at its end to an absolute address, which it builds from the scheme of
its own connection. Behind a proxy with TLS it would send the client, with its key, to plain http.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class RelativeRedirects:
    """ASGI middleware. The application itself has no redirects to other hosts."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def relative(message: Message) -> None:
            if message["type"] == "http.response.start" and 300 <= message["status"] < 400:
                headers = MutableHeaders(scope=message)
                if "location" in headers:
                    headers["location"] = relative_address(headers["location"])
            await send(message)

        await self._app(scope, receive, relative)


def relative_address(address: str) -> str:
    """Return an address without scheme and host."""
    parts = urlsplit(address)
    # A path that begins with two slashes would be read as a host.
    return urlunsplit(("", "", "/" + parts.path.lstrip("/"), parts.query, parts.fragment))


__all__ = ["RelativeRedirects"]
