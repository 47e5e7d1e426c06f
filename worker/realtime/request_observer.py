"""Observes the HTTP requests of one connection. It refuses redirects, and stores details of failures that
python-socketio discards, such as the headers and the body of a refusal."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

import aiohttp
from yarl import URL

from worker.realtime.intermediaries import is_html
from worker.realtime.old_protocol import OldProtocol, is_old_handshake
from worker.realtime.refused_response import MAX_BODY_BYTES, RefusedResponse, read_refusal
from worker.secret_masking import show_url

REDIRECT_STATUSES: Final = (301, 302, 303, 307, 308)


class Redirected(aiohttp.ClientConnectionError):
    """The service answered with a redirect. The exception's text is the target address."""

    def __init__(self, target: str, *, permanent: bool) -> None:
        super().__init__(target)
        self.permanent = permanent


class RequestObserver:
    """Receives every request and response before the library. `on_refused_post(reason)` is called when a message of the
    client was refused; the reason is empty for a redirect."""

    def __init__(self, on_refused_post: Callable[[str], None]) -> None:
        self._on_refused_post = on_refused_post
        self.redirect: Redirected | None = None
        self.failure: Exception | None = None
        """The last error of a request. Over polling the library raises an error with its text only."""
        self.connected = False
        """Whether a connection to the service was established, including TLS and the tunnel of a proxy."""

    def options(self) -> dict[str, Any]:
        """Return the options of `aiohttp.ClientSession` that let this object observe it."""
        return {"middlewares": (self._middleware,), "trace_configs": [_CONNECTIONS]}

    async def _middleware(
        self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        token = _OBSERVER.set(self)
        try:
            return await self._observe(request, send)
        finally:
            _OBSERVER.reset(token)

    async def _observe(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Fail on redirects and on servers of an old protocol.

        aiohttp would send the key to any host that a redirect names, and turn a POST into a GET. The real service never
        redirects, so any redirect, even to the same host, means that the configured address is wrong.
        """
        try:
            response = await send(request)
            if _is_polling_handshake(request, response):
                await _check_handshake(response)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            # Other response errors have a status that the server did not send. It means that the answer is not HTTP.
            is_answer = isinstance(exc, aiohttp.ClientResponseError)
            if not is_answer or isinstance(exc, aiohttp.ClientHttpProxyError):
                self.failure = exc
            raise
        location = response.headers.get("Location", "")
        if response.status not in REDIRECT_STATUSES or not location:
            # A failed GET ends the connection anyway, but the library ignores a failed POST: its message would be lost.
            refused = await read_refusal(response) if response.status >= 400 else None
            # Never reset: over polling, a POST that is still under way may succeed after the GET that was refused.
            self.failure = refused or self.failure
            if request.method == "POST" and response.status >= 300:
                self._on_refused_post(f"HTTP {response.status} to a message")
            if refused is not None:
                raise refused
            return response
        response.close()
        try:
            target = str(request.url.join(URL(location)))
            # The handshake of a websocket has the scheme `ws`, which a relative target would inherit.
            target = re.sub(r"\Aws(?=s?://)", "http", target)
        except ValueError:
            target = location
        self.redirect = Redirected(show_url(target)[:300], permanent=response.status in (301, 308))
        if request.method == "POST":
            self._on_refused_post("")
        raise self.redirect


_OBSERVER: ContextVar[RequestObserver] = ContextVar("observer of the current request")


async def _on_connection(*_: object) -> None:
    _OBSERVER.get().connected = True


# All sessions share one trace configuration, because each takes 2 KB.
_CONNECTIONS: Final = aiohttp.TraceConfig()
_CONNECTIONS.on_connection_create_end.append(_on_connection)


async def _check_handshake(response: aiohttp.ClientResponse) -> None:
    """Raise OldProtocol for a server of an old protocol, and RefusedResponse for an HTML page. A captive portal, for
    example, answers every request with its login page and HTTP 200."""
    body = await response.read()
    if is_old_handshake(body):
        raise OldProtocol
    headers = {name.lower(): value for name, value in response.headers.items()}
    page = body[:MAX_BODY_BYTES].decode("utf-8", "replace")
    if is_html(headers, page):
        raise RefusedResponse(response.status, headers, page)


def _is_polling_handshake(request: aiohttp.ClientRequest, response: aiohttp.ClientResponse) -> bool:
    query = request.url.query
    return response.status == 200 and query.get("transport") == "polling" and "sid" not in query
