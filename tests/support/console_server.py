"""Runs the HTTP API with the console in a thread of a test, and sends it requests as browsers and programs do."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from tasks.api.serve import server_config
from tasks.console.application import create_app_with_console
from tests.support.wait import wait_until
from worker.settings import Settings, load

KEYS = {"reader": "read-key", "alice": "alice-key", "boss": "boss-key"}
HTTP_KEYS = "reader:read:read-key,alice:submit:alice-key,boss:operate:boss-key"


@contextmanager
def console_server(redis_url: str, **given: Any) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1. Yields the address."""
    settings: Settings = load({}, redis_url=redis_url, **{"http_keys": HTTP_KEYS, "log_level": "error", **given})
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(server_config(create_app_with_console(settings), 1))
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        await server.serve(sockets=[listener])

    def stop() -> None:
        # As `tasks.api.serve` does: streams of events would delay the end.
        server.config.app.state.context.begin_stop()  # type: ignore[union-attr]
        server.should_exit = True

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), "the console listens")
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        if thread.is_alive():
            loops[0].call_soon_threadsafe(stop)
        thread.join(60)
        listener.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    cookies: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def send(url: str, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """Send one request. Names of headers are written with `_`. `Host` may be replaced."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    content = b"" if body is None else json.dumps(body).encode()
    if body is not None:
        given.setdefault("content-type", "application/json")
    try:
        connection.putrequest(method, path, skip_host="host" in given)
        for name, value in {**given, "content-length": str(len(content))}.items():
            connection.putheader(name, value)
        connection.endheaders(content)
        answer = connection.getresponse()
        cookies = answer.msg.get_all("set-cookie") or []
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read(), cookies)
    finally:
        connection.close()


@dataclass
class BrowserSession:
    """A logged-in session, as the page uses it."""

    url: str
    cookie: str
    csrf: str

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        return send(self.url, method, path, body, **{"cookie": self.cookie, "x_csrf_token": self.csrf, **headers})


def log_in(url: str, name: str) -> BrowserSession:
    answer = send(url, "POST", "/console/login", {"key": KEYS[name]}, origin=url)
    assert answer.status == 200, answer.body
    cookie = answer.cookies[0].partition(";")[0]
    session = send(url, "GET", "/console/session", cookie=cookie).json
    assert session["principal"]["name"] == name
    return BrowserSession(url, cookie, session["csrf"])
