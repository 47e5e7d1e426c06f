"""A redirect is never followed: the key is only sent to the service in STT_URL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from tests.integration.test_client_connect import answering, client, left_tasks, serving
from tests.support.ports import free_port
from tests.support.service import KEY, service
from tests.support.wait import async_wait_until
from worker.errors import EndpointError, EndpointMoved, EndpointUnavailable
from worker.realtime import messages
from worker.realtime.client import Client
from worker.realtime.messages import Lost
from worker.realtime.request_observer import RequestObserver
from worker.settings import load


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Yields the URL of a server at another origin, and the list of requests that it received."""
    got: list[web.Request] = []

    async def handler(request: web.Request) -> web.Response:
        got.append(request)
        return web.Response(text="welcome")

    async with serving(answering(handler)) as url:
        yield url, got


def redirecting(target: str, status: int) -> web.Application:
    async def handler(request: web.Request) -> web.Response:
        if request.path.startswith("/loop"):
            return web.Response(text="followed")
        return web.Response(status=status, headers={"Location": target})

    return answering(handler)


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_to_another_origin_is_followed(status: int, transport: str) -> None:
    async with elsewhere() as (other, got), serving(redirecting(f"{other}/x?token=secret", status)) as url:
        with pytest.raises(EndpointError) as caught:
            await client(url, STT_TRANSPORT=transport).open()
        assert got == []
        assert left_tasks() == []
    assert type(caught.value) is (EndpointMoved if status in (301, 308) else EndpointUnavailable)
    assert f"answers with a redirect to {other}/x," in str(caught.value)
    assert "STT_URL" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "the-key" not in str(caught.value)


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    "target",
    [
        "/loop",
        "//{host}/loop",
        "https://{host}/loop",
        "http://user:pw@{host}/loop",
        "HTTP://{host}/loop",
        "ws://x/",
        "//[",
    ],
)
async def test_no_other_redirect_is_followed_either(target: str, transport: str) -> None:
    """No redirect is followed: to the same origin, another scheme or user, or an invalid address."""
    app = web.Application()
    hosts: list[str] = []
    paths: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(status=301, headers={"Location": target.format(host=hosts[0])})

    app.router.add_route("*", "/{path:.*}", handler)
    async with serving(app) as url:
        hosts.append(url.removeprefix("http://"))
        with pytest.raises(EndpointMoved, match="answers with a redirect to ") as caught:
            await client(url, STT_TRANSPORT=transport).open()
        assert paths == [f"{messages.PATH}/"]
        assert "pw" not in str(caught.value)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_redirect_in_the_middle_of_a_session_ends_it(method: str) -> None:
    dropped: list[Lost] = []
    async with elsewhere() as (other, got), service() as server:
        handle = server._endpoint._engine
        settings = load({"STT_API_KEY": KEY, "STT_TRANSPORT": "polling"})
        one = Client(server.url, settings.api_key, settings, lambda *_: None, dropped.append)
        await one.open()
        server._endpoint._engine = lambda request: (  # type: ignore[method-assign]
            _moved(f"{other}/x") if request.method == method else handle(request)
        )
        await one.emit(messages.START, {"sampleRate": 16000})
        await async_wait_until(lambda: dropped, "the redirect ends the session")
        assert not await one.emit(messages.STOP)
        await one.close()
        assert got == []
        assert len(dropped) == 1
        assert f"redirect to {other}/x" in dropped[0].reason


async def _moved(target: str) -> web.Response:
    return web.Response(status=307, headers={"Location": target})


async def test_each_observer_sees_only_the_connections_of_its_session() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="welcome")

    async def connected(url: str) -> bool:
        observer = RequestObserver(lambda _: None)
        async with aiohttp.ClientSession(**observer.options()) as http:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                await (await http.get(url)).read()
        return observer.connected

    async with serving(answering(handler)) as url:
        refused = f"http://127.0.0.1:{free_port()}/"
        found = await asyncio.gather(*(connected(one) for one in (url, refused, url, refused)))
    assert found == [True, False, True, False]
