"""Measures and logs each request: method, route, status and duration, but no path, name, text or address."""

from __future__ import annotations

import time
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker import metrics

_log: Final = structlog.get_logger(__name__)
_QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})
"""Routes that monitoring calls every few seconds; logged at `debug` only."""
OTHER: Final = "other"
"""The route of a request to an unknown path."""


class AccessLog:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, ttfb_s = time.perf_counter(), 499, 0.0

        async def watched(message: Message) -> None:
            nonlocal status, ttfb_s
            if message["type"] == "http.response.start":
                status, ttfb_s = message["status"], time.perf_counter() - started
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            # After an unexpected error, the outermost handler answers with 500, which this middleware does not see.
            status = status if ttfb_s else 500
            raise
        finally:
            # 499: the client went away before the response began.
            self._note(scope, status, ttfb_s, time.perf_counter() - started)

    def _note(self, scope: Scope, status: int, ttfb_s: float, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", OTHER)
        metrics.HTTP_REQUESTS.labels(scope["method"] if route != OTHER else OTHER, route, str(status)).inc()
        if ttfb_s:
            metrics.HTTP_LATENCY.observe(ttfb_s)
        principal = scope.get("state", {}).get("principal")
        write = _log.debug if route in _QUIET else _log.info
        write(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            ms=round(took_s * 1000, 1),
            key=principal.name if principal is not None else None,
        )


__all__ = ["AccessLog"]
