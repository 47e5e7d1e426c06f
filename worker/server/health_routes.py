"""The HTTP routes of the server for health (`/healthz`) and metrics (`/metrics`)."""

from __future__ import annotations

from aiohttp import web

from worker import metrics
from worker.realtime import json_codec
from worker.server.recognition_engine import EngineLoader
from worker.server.request_bodies import MAX_BODY_BYTES
from worker.server.socketio_connections import SocketIoConnections
from worker.settings import Settings


def health_application(sockets: SocketIoConnections, loader: EngineLoader, settings: Settings) -> web.Application:
    """Return a web application with the routes for health and metrics. `worker.server.app.start` adds the real-time
    endpoint to it."""

    async def health(_request: web.Request) -> web.Response:
        problem = loader.problem
        engine = loader.engine
        body = {
            "status": "ok" if problem is None else "unavailable",
            "problem": problem,
            "model": engine.recognizer.model if engine else None,
            "sessions": len(sockets.sessions),
            "max_sessions": settings.server_max_sessions,
            "backlog_s": round(sum(session.backlog.total_s for session in sockets.sessions), 1),
        }
        status = 200 if problem is None else 503
        return web.Response(status=status, text=json_codec.dumps(body), content_type="application/json")

    # A Prometheus counter can only be increased, but the connections report a total. `RisingCounter` adds the
    # difference.
    received = metrics.RisingCounter(metrics.SERVER_AUDIO)

    async def measured(request: web.Request) -> web.Response:
        metrics.SERVER_READY.set(loader.problem is None)
        metrics.SERVER_SESSIONS.set(len(sockets.sessions))
        metrics.SERVER_LIMIT.set(settings.server_max_sessions)
        metrics.SERVER_BACKLOG.set(sum(session.backlog.total_s for session in sockets.sessions))
        received.update(sockets.received_s)
        body, content_type = metrics.exposition(metrics.SERVER, request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    # Both routes need no key. Each of their connections is closed after one response, like all connections without an
    # accepted request (`http_endpoint.close_unauthenticated`).
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/healthz", health)
    app.router.add_get("/metrics", measured)
    return app
