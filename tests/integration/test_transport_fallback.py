"""Polling where a websocket is not possible, and servers whose protocol is too old."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.test_client_connect import answering, serving
from tests.support.audiofiles import write_words
from tests.support.pipeline_run import KEY, assert_said, tone_service, transcribe
from tests.support.tones import speech
from tests.support.wait import allowed_s
from worker.errors import EndpointError, EndpointUnavailable
from worker.realtime import client as client_module
from worker.realtime import messages
from worker.realtime.transport_memory import RETRY_WEBSOCKET_S, TransportMemory
from worker.settings import Settings, load

WORDS = list(speech(2.0, seed=6))


class Middlebox:
    """A TCP relay that treats websocket handshakes with `fault`, and counts them."""

    def __init__(self, port: int, fault: str) -> None:
        self.upgrades = 0
        self.fault = fault
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._relay(reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"upgrade: websocket" in head.lower():
            self.upgrades += 1
            if self.fault == "swallowed":
                await reader.read()
                return
            if self.fault == "reset":
                writer.transport.abort()
                return
            if self.fault.isdigit():
                writer.write(f"HTTP/1.1 {self.fault} No\r\nContent-Length: 4\r\n\r\nno\r\n".encode())
                return
            if self.fault == "header removed":
                head = head.replace(b"Upgrade: websocket\r\n", b"").replace(b"Connection: Upgrade\r\n", b"")
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        up_writer.write(head)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
            target.close()

        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))


@asynccontextmanager
async def middlebox(fault: str) -> AsyncIterator[tuple[Middlebox, Settings]]:
    async with tone_service() as settings:
        box = Middlebox(int(settings.url.rpartition(":")[2]), fault)
        server = await asyncio.start_server(box.serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield box, load({"STT_URL": url, "STT_API_KEY": KEY, "STT_CONNECT_TIMEOUT_S": "3"})
        finally:
            server.close()


async def check(settings: Settings) -> str:
    return await client_module.check(settings.url, settings.api_key, settings)


OTHER_STATUSES = [pytest.param(status, marks=pytest.mark.matrix) for status in ("404", "500", "502", "426")]


@pytest.mark.parametrize("fault", ["swallowed", "reset", "header removed", "403", "200", *OTHER_STATUSES])
async def test_every_word_once_over_polling(fault: str, tmp_path: Path) -> None:
    recording = write_words(tmp_path / "words.wav", WORDS, 16000)
    async with middlebox(fault) as (box, settings):
        assert_said(await transcribe(recording, settings), WORDS)
        tried = box.upgrades
        assert 1 <= tried <= 2, "aiohttp repeats a request on a connection that was reset"
        assert await check(settings) == "polling"
        assert box.upgrades == tried, "the way that worked is remembered"
        with pytest.raises(EndpointError):
            await check(settings.model_copy(update={"transport": "websocket"}))


async def test_a_websocket_is_tried_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = TransportMemory()
    monkeypatch.setattr(client_module, "_TRANSPORTS", later)
    async with middlebox("swallowed") as (box, settings):
        assert await check(settings) == "polling"
        box.fault = ""
        assert await check(settings) == "polling"
        for endpoint in later._until:
            later._until[endpoint] -= RETRY_WEBSOCKET_S
        assert await check(settings.model_copy(update={"connect_timeout_s": 60})) == "websocket"
        assert box.upgrades == 2


async def test_a_failure_of_polling_ends_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = TransportMemory()
    monkeypatch.setattr(client_module, "_TRANSPORTS", memory)
    async with middlebox("reset") as (_, settings):
        assert await check(settings) == "polling"
    with pytest.raises(EndpointUnavailable):
        await check(settings)
    assert not memory._until


@pytest.mark.parametrize("status", [401, 429, 503])
async def test_a_refusal_that_polling_would_get_too_is_not_repeated(status: int) -> None:
    paths: list[str] = []

    async def refuse(request: web.Request) -> web.Response:
        paths.append(request.query["transport"])
        return web.json_response({"message": "no"}, status=status)

    async with serving(answering(refuse)) as url:
        settings = load({"STT_URL": url, "STT_API_KEY": KEY})
        with pytest.raises(EndpointError):
            await check(settings)
    assert paths == ["websocket"]


# -- Engine.IO 3 -----------------------------------------------------------------------------------------------------

HELLO = json.dumps({"sid": "x", "upgrades": [], "pingInterval": 25000, "pingTimeout": 5000})


async def old_server(request: web.Request) -> web.StreamResponse:
    """Answers like Socket.IO 2: it ignores EIO=4, and connects the client to the main namespace at once."""
    if request.query.get("transport") == "polling":
        return web.Response(text=f"{len(HELLO) + 1}:0{HELLO}2:40", content_type="text/plain")
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(f"0{HELLO}")
    await socket.send_str("40")
    async for _ in socket:
        pass
    return socket


async def old_binary_server(request: web.Request) -> web.StreamResponse:
    """Answers like Socket.IO 2 to a client that accepts binary data."""
    length = bytes(int(digit) for digit in str(len(HELLO) + 1))
    return web.Response(body=b"\x00" + length + b"\xff0" + HELLO.encode() + b"\x00\x02\xff40")


@pytest.mark.parametrize(
    ("server", "transport"),
    [(old_server, "auto"), (old_server, "websocket"), (old_server, "polling"), (old_binary_server, "polling")],
)
async def test_an_old_server_is_named(
    server: Callable[[web.Request], Awaitable[web.StreamResponse]], transport: str
) -> None:
    async with serving(answering(server)) as url:
        settings = load({"STT_URL": url, "STT_API_KEY": KEY, "STT_TRANSPORT": transport})
        with pytest.raises(
            EndpointUnavailable, match=r"speaks Engine\.IO 3 \(Socket\.IO 2 or older\).*update the server"
        ):
            await asyncio.wait_for(check(settings), allowed_s(3))


# -- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize("prefix", ["/speech", "/a/b/", f"/speech{messages.PATH}"])
async def test_prefix_and_login_reach_the_server_and_no_message(prefix: str, transport: str, tmp_path: Path) -> None:
    requests: list[web.Request] = []

    async def refuse(request: web.Request) -> web.Response:
        requests.append(request)
        said = request.headers["Authorization"]
        return web.json_response({"message": said}, status=500, reason=said)

    async with serving(answering(refuse)) as url:
        address = url.replace("http://", "http://ann:s3cret%20pw@") + prefix
        settings = load({"STT_URL": address, "STT_API_KEY": KEY, "STT_TRANSPORT": transport})
        with pytest.raises(EndpointUnavailable) as caught:
            await check(settings)
    (request,) = requests
    assert request.path == f"/{prefix.strip('/').removesuffix(messages.PATH.strip('/')).strip('/')}{messages.PATH}/"
    assert request.headers["Authorization"] == "Basic YW5uOnMzY3JldCBwdw=="
    assert request.headers[messages.KEY_HEADER] == KEY
    assert "@" not in str(request.url)
    assert not {secret for secret in ("s3cret", "YW5uOn", KEY) if secret in str(caught.value)}


async def test_an_ipv6_address_reaches_the_service(tmp_path: Path) -> None:
    async with tone_service(STT_SERVER_HOST="::1") as settings:
        port = settings.url.rpartition(":")[2].strip("/")
        for url in (f"http://[::1]:{port}/", f"ws://ann:pw@[::1]:{port}"):
            assert await check(load({"STT_URL": url, "STT_API_KEY": KEY})) == "websocket"
