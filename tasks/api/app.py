"""Builds the web application of `stt-batch api`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from tasks.api import (
    audio,
    batches,
    bulk,
    event_streams,
    health,
    jobs,
    manifests,
    openai_routes,
    openapi,
    problems,
    revisions,
    stats,
    submit,
    transcripts,
    webhooks,
)
from tasks.api.access_log import AccessLog
from tasks.api.context import ApiContext, opened
from tasks.api.head_requests import HeadRequests
from tasks.api.redis_time_limit import RedisTimeLimit
from tasks.api.relative_redirects import RelativeRedirects
from tasks.api.upload_store import store_of
from worker.settings import Settings
from worker.version import installed_version

ROUTERS: Final[tuple[APIRouter, ...]] = (
    submit.router,
    bulk.router,
    jobs.router,
    transcripts.router,
    revisions.router,
    audio.router,
    event_streams.router,
    manifests.router,
    batches.router,
    webhooks.router,
    stats.router,
    openai_routes.router,
    health.router,
)
_DESCRIPTION: Final = (
    "Submits audio to stt-batch, follows the jobs and reads their transcripts. Errors are problem documents (RFC 9457)."
)


def create_app(
    settings: Settings,
    *,
    routers: Sequence[APIRouter] = (),
    on_open: Sequence[Callable[[FastAPI, ApiContext], object]] = (),
    guards: Sequence[Middleware] = (),
) -> FastAPI:
    """Return the application. `routers`: further routes, such as those of the console. `on_open`: called with the
    application and its context when the application starts, for example to set `ApiContext.login`. `guards`: further
    middleware, which sees each request first. Raises SettingsError."""
    # Not when the application starts: uvicorn would log the error as a traceback and end with a status of its own.
    uploads = store_of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opened(settings, uploads) as context:
            app.state.context = context
            for call in on_open:
                call(app, context)
            yield

    app = FastAPI(
        title="stt-batch",
        version=installed_version() or "0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    problems.install(app, [route for router in (*ROUTERS, *routers) for route in router.routes])
    for router in (*ROUTERS, *routers):
        app.include_router(router)
    openapi.install(app)
    app.add_middleware(RelativeRedirects)
    app.add_middleware(HeadRequests)
    origins = [origin.strip() for origin in settings.http_cors_origins.split(",") if origin.strip()]
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST", "PATCH", "DELETE"],
            # Clients add headers of their own, such as `x-stainless-os` of OpenAI's JavaScript client.
            allow_headers=["*"],
            expose_headers=["location", "retry-after", "content-range", "etag"],
            allow_credentials=False,
        )
    app.add_middleware(AccessLog)
    for guard in guards:
        app.add_middleware(guard.cls, *guard.args, **guard.kwargs)
    app.add_middleware(RedisTimeLimit)
    return app


__all__ = ["create_app"]
