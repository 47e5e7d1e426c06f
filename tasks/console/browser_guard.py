"""Middleware that protects the API and the console from pages of other sites, and finds the session of a request."""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Final

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tasks.api.context import ApiContext
from tasks.api.problems import Problem, response_of, to_problem
from tasks.console.request_origin import SAFE_METHODS, OriginPolicy
from tasks.console.sessions import Sessions, csrf_token
from worker.errors import LedgerUnavailable, SttError
from worker.http_keys import Principal

_FOUND: Final = "stt.console_session"
_TOKEN: Final = "stt.console_token"  # noqa: S105  the name of a field
LOGIN: Final = "/console/login"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Paths without secrets, which answer under every host name: a probe of a container platform or a load balancer uses
the name of a service that this server does not know."""
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class BrowserGuard:
    """ASGI middleware. A request with an API key in a header passes, since no other site can send one."""

    def __init__(self, app: ASGIApp, policy: OriginPolicy) -> None:
        self._app, self._policy = app, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(scope["path"], MutableHeaders(scope=message))
            await send(message)

        try:
            await self._check(scope)
        except Problem as exc:
            await response_of(exc, scope["path"])(scope, receive, guarded)
        except SttError as exc:
            await response_of(to_problem(exc), scope["path"])(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    async def _check(self, scope: Scope) -> None:
        """Raises Problem 403 or 421 for a request of another site, and LedgerUnavailable."""
        application: FastAPI = scope["app"]
        context: ApiContext = application.state.context
        headers, path = Headers(scope=scope), scope["path"]
        if context.keyring and ("authorization" in headers or "x-api-key" in headers):
            return
        token = session_token(headers)
        if context.keyring and not token and path.startswith("/v1/"):
            return  # it has no rights, and gets 401
        probe = path in _PROBES and scope["method"] in SAFE_METHODS
        if not probe and (reason := self._policy.refused_host(headers.get("host", ""))) is not None:
            raise Problem(421, reason, code="wrong_host")
        if (reason := self._policy.refused_origin(scope["method"], path, headers)) is not None:
            raise Problem(403, reason, code="cross_site")
        if context.keyring and token:
            sessions: Sessions = application.state.console_sessions
            scope[_FOUND], scope[_TOKEN] = await sessions.find(token), token
            needs_token = scope[_FOUND] is not None and scope["method"] not in SAFE_METHODS and path != LOGIN
            given = headers.get("x-csrf-token", "").encode("utf-8", "replace")
            if needs_token and not hmac.compare_digest(given, csrf_token(token).encode()):
                raise Problem(403, "the header x-csrf-token is missing or wrong; reload the page", code="csrf")


def principal_of(request: HTTPConnection) -> Principal | None:
    """Return the principal of the session that the guard has found; for `ApiContext.login`."""
    return request.scope.get(_FOUND)


def token_of(request: HTTPConnection) -> str:
    """Return the token of a valid session, or an empty text."""
    return request.scope.get(_TOKEN, "") if principal_of(request) is not None else ""


async def login_lasts(request: HTTPConnection, principal: Principal) -> bool:
    """Whether the session of a request still belongs to this principal, or the request has no session. Implements
    `ApiContext.login_lasts`."""
    token, sessions = token_of(request), request.app.state.console_sessions
    try:
        return not token or await sessions.find(token) == principal
    except LedgerUnavailable:  # ends the stream; the browser then connects again
        return False


def cookie_name(host: str) -> str:
    """Return the name of the cookie. It contains the port, because cookies do not distinguish the ports of a host."""
    port = host.rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    return f"stt_session_{port}" if port.isdecimal() else "stt_session"


def session_token(headers: Headers) -> str:
    wanted = cookie_name(headers.get("host", ""))
    try:
        found = SimpleCookie("; ".join(headers.getlist("cookie"))).get(wanted)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _add_headers(path: str, headers: MutableHeaders) -> None:
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if path == "/" or path.startswith("/console"):
        headers.setdefault("Content-Security-Policy", POLICY)
        headers.setdefault("Cache-Control", "no-store")


__all__ = ["LOGIN", "BrowserGuard", "cookie_name", "login_lasts", "principal_of", "token_of"]
