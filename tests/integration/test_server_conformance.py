"""Requirements of the test suites of the Engine.IO and Socket.IO protocols (version 4 and 5) that the service once did
not meet: errors of the handshake, polls after a failure, unknown namespaces, and the key of a browser page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.support.service import KEY, service
from worker.realtime.messages import KEY_HEADER, PATH
from worker.server import http_endpoint
from worker.server.app import RunningServer

ORIGIN = {"Origin": "https://example.com"}


class Http:
    """A client without a library for Engine.IO."""

    def __init__(self, server: RunningServer, session: aiohttp.ClientSession) -> None:
        self._url = f"{server.url}{PATH}/"
        self._session = session

    async def request(self, method: str, query: str, body: str | None = None, **headers: str) -> tuple[int, str]:
        async with self._session.request(method, f"{self._url}?{query}", data=body, headers=headers) as answer:
            return answer.status, await answer.text()

    async def open(self, headers: dict[str, str] | None = None) -> str:
        """Open a polling session and return the rest of the query for its requests."""
        given = {KEY_HEADER: KEY} if headers is None else headers
        status, text = await self.request("GET", "EIO=4&transport=polling", **given)
        assert status == 200, text
        return f"EIO=4&transport=polling&sid={json.loads(text[1:])['sid']}"

    async def join(self, headers: dict[str, str] | None = None, auth: Any = None) -> tuple[str, str]:
        """Open a session and join the namespace. Returns the query and the answer of the server."""
        query = await self.open(headers)
        assert await self.request("POST", query, f"40{'' if auth is None else json.dumps(auth)}") == (200, "OK")
        return query, (await self.request("GET", query))[1]


@asynccontextmanager
async def http(**options: Any) -> AsyncIterator[Http]:
    async with service(**options) as server, aiohttp.ClientSession() as session:
        yield Http(server, session)


@pytest.mark.parametrize(
    ("method", "query", "code"),
    [
        ("GET", "EIO=4", 0),
        ("GET", "EIO=4&transport=abc", 0),
        ("GET", "EIO=4&transport=polling&sid=unknown", 1),
        ("POST", "EIO=4&transport=polling&sid=unknown", 1),
        ("POST", "EIO=4&transport=polling", 2),
        ("PUT", "EIO=4&transport=polling", 2),
        ("DELETE", "EIO=4&transport=polling", 2),
        ("GET", "EIO=4&transport=polling&sid=", 3),
        ("GET", "EIO=3&transport=polling", 5),
        ("GET", "EIO=abc&transport=polling", 5),
        ("GET", "transport=polling", 5),
    ],
)
async def test_errors_have_the_status_and_number_of_engine_io(method: str, query: str, code: int) -> None:
    async with http() as client:
        status, text = await client.request(method, query, **{KEY_HEADER: KEY})
    assert status == 400
    assert json.loads(text)["code"] == code
    assert json.loads(text)["message"]


@pytest.mark.parametrize("body", ["abc", "4x\x1e?", "9", "4x\x1e9"])
async def test_an_invalid_packet_ends_the_session(body: str) -> None:
    """The answer must not be 200, because the client would then believe that its audio arrived."""
    async with http() as client:
        query, _ = await client.join()
        assert (await client.request("POST", query, body))[0] == 400
        assert (await client.request("GET", query))[0] == 400


async def test_two_polls_at_the_same_time_end_the_session() -> None:
    async with http() as client:
        query, _ = await client.join()
        first = asyncio.create_task(client.request("GET", query))
        await asyncio.sleep(0.2)
        assert (await client.request("GET", query))[0] == 400
        status, packets = await first
        assert (status, packets.split("\x1e")[-1]) == (200, "1")
        assert (await client.request("GET", query))[0] == 400


async def test_a_poll_of_a_client_that_answered_no_ping_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engineio.async_socket.time.time", lambda: 1e10)
    async with http() as client:
        query, _ = await client.join()
        # python-engineio notes the time of a ping only when it sends one, after 25 s.
        monkeypatch.setattr("engineio.base_socket.BaseSocket.last_ping", 1.0, raising=False)
        from engineio.async_socket import AsyncSocket

        monkeypatch.setattr(AsyncSocket, "__getattribute__", _with_old_ping)
        assert (await client.request("GET", query))[0] == 400


def _with_old_ping(self: Any, name: str) -> Any:
    return 1.0 if name == "last_ping" else object.__getattribute__(self, name)


async def test_an_unknown_namespace_gets_an_error_object() -> None:
    async with http() as client:
        query, _ = await client.join()
        await client.request("POST", query, "40/random,")
        assert (await client.request("GET", query)) == (200, '44/random,{"message":"Invalid namespace"}')


# -- the key of a browser page -----------------------------------------------------------------------------------------


async def test_a_page_with_the_right_token_is_served_and_with_another_one_is_not() -> None:
    async with http() as client:
        _, joined = await client.join(ORIGIN, {"token": KEY})
        assert joined.startswith('40{"sid"')
        for auth in ({"token": "wrong"}, {"token": ""}, {"token": None}, {"token": [KEY]}, {"key": KEY}, None):
            _, refused = await client.join(ORIGIN, auth)
            assert refused.startswith("44{"), auth


@pytest.mark.parametrize(
    "headers", [{}, {KEY_HEADER: "wrong"}, {KEY_HEADER: "wrong", **ORIGIN}, {KEY_HEADER: "", **ORIGIN}]
)
async def test_other_clients_are_refused_at_the_handshake(headers: dict[str, str]) -> None:
    async with http() as client:
        assert (await client.request("GET", "EIO=4&transport=polling", **headers))[0] == 401


async def test_a_page_without_a_key_can_send_no_events_and_little_data() -> None:
    async with http() as client:
        query = await client.open(ORIGIN)
        assert (await client.request("POST", query, "4" * 5000))[0] == 413
        await client.request("POST", query, '42["start-session",{"sampleRate":16000}]')
        await client.request("POST", query, "40")
        status, text = await client.request("GET", query)
        assert status == 200
        assert "session-started" not in text
        assert text.startswith("44{")


async def test_the_number_of_pages_without_a_key_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_endpoint, "MAX_UNVERIFIED", 2)
    async with http() as client:
        for _ in range(2):
            await client.open(ORIGIN)
        assert (await client.request("GET", "EIO=4&transport=polling", **ORIGIN))[0] == 429
        _, joined = await client.join()
        assert joined.startswith("40")
