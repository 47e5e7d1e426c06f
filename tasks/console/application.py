"""Builds the application of `stt-batch api`: the HTTP API with the console."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog
from fastapi import FastAPI
from starlette.middleware import Middleware

from tasks.api.app import create_app
from tasks.api.context import ApiContext
from tasks.console import library, operator_routes, pages
from tasks.console.browser_guard import BrowserGuard, login_lasts, principal_of
from tasks.console.failure_groups import FailureReader
from tasks.console.login_limit import LoginLimit
from tasks.console.overview import Overview
from tasks.console.request_origin import OriginPolicy, hosts_of
from tasks.console.sessions import Sessions
from worker.errors import LedgerUnavailable
from worker.ledger.job_listing import JobListing
from worker.ledger.keys import Keys
from worker.settings import Settings

_log: Final = structlog.get_logger(__name__)
CORRECT_S: Final = 900.0
"""Seconds between two corrections of the listing, for jobs that workers of an earlier version have changed."""
RETRY_S: Final = 10.0


def create_app_with_console(settings: Settings) -> FastAPI:
    """Return the application. Its browser guard also protects the API."""
    origins = {origin.strip() for origin in settings.http_cors_origins.split(",") if origin.strip()}
    guard = Middleware(BrowserGuard, policy=OriginPolicy(hosts_of(settings.http_hosts), origins))
    routers = (operator_routes.router, library.router, pages.router)
    return create_app(settings, routers=routers, on_open=(_open,), guards=(guard,))


def _open(app: FastAPI, context: ApiContext) -> None:
    keys = Keys(context.settings.redis_prefix)
    app.state.console_sessions = Sessions(context.connection, keys, context.keyring)
    app.state.console_overview = Overview(context)
    app.state.console_failures = FailureReader(context)
    app.state.console_login_limit = LoginLimit()
    context.login, context.login_lasts = principal_of, login_lasts
    context.tasks.add(asyncio.create_task(_correct(context.listing)))


async def _correct(listing: JobListing) -> None:
    """Correct and prune the listing, now and at intervals, until cancelled."""
    while True:
        try:
            if corrected := await listing.correct_all():
                _log.info("listing of jobs corrected", jobs=corrected)
            removed = 1
            while removed:
                removed = await listing.prune()
        except LedgerUnavailable as exc:
            _log.warning("listing of jobs not corrected", error=str(exc))
            await asyncio.sleep(RETRY_S)
        else:
            await asyncio.sleep(CORRECT_S)


__all__ = ["create_app_with_console"]
