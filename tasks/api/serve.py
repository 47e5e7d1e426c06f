"""Runs the HTTP API with uvicorn until SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from tasks.api.connection_reader import ConnectionReader
from tasks.api.context import ApiContext
from tasks.api.memory_allocator import return_large_blocks
from tasks.background.health_and_metrics import Monitor
from tasks.event_loop import new_event_loop
from worker.errors import EndpointUnavailable
from worker.http_keys import parse_keys
from worker.network.no_proxy import is_loopback
from worker.settings import Settings

_log: Final = structlog.get_logger(__name__)
GRACE_S: Final = 10
"""Maximum seconds that running requests may take after SIGTERM."""
KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2048
LOOPBACK: Final = "127.0.0.1"


class _Server(uvicorn.Server):
    """Ends the event streams at the start of the shutdown: they would delay it to the end of GRACE_S."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGTERM and SIGINT with exit status 0. uvicorn's own method raises the signal again at the end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        application: FastAPI = self.config.app  # type: ignore[assignment]
        context: ApiContext | None = getattr(application.state, "context", None)
        if context is not None:
            context.begin_stop()
        await super().shutdown(sockets)


def listen_host(settings: Settings) -> str:
    """Return the address to listen on: a loopback address if there are no keys."""
    if has_keys(settings) or is_strict_loopback(settings.http_host):
        return settings.http_host
    return LOOPBACK


def has_keys(settings: Settings) -> bool:
    """Whether requests need a key. A value such as `,` contains none."""
    return bool(parse_keys(settings.http_keys.get_secret_value()))


def is_strict_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on `host`."""
    return is_loopback(host) and host not in ("0.0.0.0", "::", "")  # noqa: S104 - compared, not bound


def run(app: FastAPI, settings: Settings, on_ready: Callable[[str], object]) -> None:
    """Serve until SIGTERM or SIGINT. Blocks. `on_ready` is called with the URL when requests are accepted. Raises
    EndpointUnavailable if the address is in use."""
    return_large_blocks()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(app, settings, on_ready))


async def _serve(app: FastAPI, settings: Settings, on_ready: Callable[[str], object]) -> None:
    host = listen_host(settings)
    if not has_keys(settings):
        _log.warning(
            "no keys: listening on this machine only, and every local program may do everything; set STT_HTTP_KEYS",
            host=host,
        )
    listener = _listener(host, settings.http_port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listener.getsockname()[1]}"
    server = _Server(server_config(app, GRACE_S))
    monitor = Monitor(settings)
    tasks = [asyncio.create_task(monitor.run()), asyncio.create_task(_announce(server, url, on_ready))]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        monitor.close()
        with suppress(OSError):
            listener.close()


def server_config(app: FastAPI, grace_s: int) -> uvicorn.Config:
    """Return the configuration of the server. `grace_s`: maximum seconds that running requests may take at the end."""
    return uvicorn.Config(
        app,
        http=ConnectionReader,  # type: ignore[arg-type]  # uvicorn accepts any factory of protocols
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="none",
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
        proxy_headers=False,
    )


async def _announce(server: uvicorn.Server, url: str, on_ready: Callable[[str], object]) -> None:
    while not server.started:  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.02)
    _log.info("listening", url=url)
    on_ready(url)


def _listener(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(
            (str(address[0]), int(address[1])), family=family, backlog=BACKLOG, dualstack_ipv6=False
        )
    except OSError as exc:
        raise EndpointUnavailable(
            f"cannot listen on {host}:{port}: {exc.strerror or exc}; choose another STT_HTTP_HOST or STT_HTTP_PORT "
            "(0 picks a free port)"
        ) from None


__all__ = ["listen_host", "run", "server_config"]
