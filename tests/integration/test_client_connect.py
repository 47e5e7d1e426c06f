"""Connecting to endpoints that refuse, hang or do not exist. Each attempt ends with one clear error within its time
limit, and leaves nothing open."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import socketio
from aiohttp import web

from tests.support.fleet import limit_of
from tests.support.wait import allowed_s
from worker.errors import (
    AccountRefused,
    AuthRefused,
    EndpointBusy,
    EndpointError,
    EndpointUnavailable,
    PermissionRefused,
    ProtocolRefused,
)
from worker.realtime import messages
from worker.realtime.client import Client
from worker.realtime.messages import Lost
from worker.settings import load

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def answering(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return app


ENDS_SOON = {"STT_CONNECT_TIMEOUT_S": "1"}
"""For tests of the time limit only: on a busy machine, a server in the same process may need longer to answer."""


def client(url: str, **settings: str) -> Client:
    configured = load(
        {"STT_API_KEY": "the-key", "STT_CONNECT_TIMEOUT_S": "20", "STT_CLOSE_TIMEOUT_S": "0.5", **settings}
    )
    return Client(url, configured.api_key, configured, lambda *_: None, lambda _: None)


def left_tasks() -> list[str]:
    """Return the tasks of Socket.IO clients that still run. Tasks of the servers, which use the same event loop, are
    not included."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("AsyncClient.")]


async def refusal(url: str, **settings: str) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        await client(url, **settings).open()
    assert url in str(caught.value)
    assert "the-key" not in str(caught.value)
    assert left_tasks() == []
    return caught.value


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ProtocolRefused),
        (401, AuthRefused),
        (402, AccountRefused),
        (403, PermissionRefused),
        (429, EndpointBusy),
        (500, EndpointUnavailable),
        (503, EndpointUnavailable),
    ],
)
async def test_http_refusals(status: int, kind: type[EndpointError], transport: str) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"message": "no"}, status=status)

    async with serving(answering(handler)) as url:
        error = await refusal(url, STT_TRANSPORT=transport)
    assert type(error) is kind
    assert str(status) in str(error)


async def test_a_refused_key_says_so() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({}, status=401)

    async with serving(answering(handler)) as url:
        error = await refusal(url)
    assert str(error).startswith(f"API key refused by {url}")


async def test_a_broken_json_body_of_a_refusal() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=401, body=b"{no json", content_type="application/json")

    async with serving(answering(handler)) as url:
        assert type(await refusal(url)) is AuthRefused
        assert isinstance(await refusal(url, STT_TRANSPORT="polling"), EndpointError)


async def test_a_page_that_is_no_socketio_server() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(text="<html>hello</html>", content_type="text/html")

    async with serving(answering(handler)) as url:
        error = await refusal(url)
    assert type(error) is EndpointUnavailable
    assert "HTTP 200 with an HTML page (hello)" in str(error)


async def test_what_answers_is_no_web_server() -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        error = await refusal(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
    assert "does not speak HTTP" in str(error)
    assert "check STT_URL" in str(error)
    assert "\n" not in str(error)


async def test_the_query_of_the_address_is_in_no_error() -> None:
    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 20_000 + b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(flood, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        for transport in ("websocket", "polling"):
            with pytest.raises(EndpointUnavailable) as caught:
                await client(f"http://127.0.0.1:{port}/?region=short", STT_TRANSPORT=transport).open()
            assert "the answer is not valid HTTP" in str(caught.value)
            assert "short" not in str(caught.value)
    finally:
        server.close()


OPEN = '0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


@pytest.mark.parametrize("sent", [[], [OPEN]])
@pytest.mark.parametrize("transport", ["auto", "websocket"])
@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (1008, "insufficient credits", AccountRefused),
        (1008, "Invalid API key", AuthRefused),
        (4401, "", AuthRefused),
        (4402, "", AccountRefused),
        (4403, "no", PermissionRefused),
        (4429, "too many", EndpointBusy),
        (1013, "", EndpointBusy),
        (1011, "", EndpointUnavailable),
        (1000, "", EndpointUnavailable),
    ],
)
async def test_a_close_before_the_connection_is_accepted(
    code: int, reason: str, kind: type[EndpointError], transport: str, sent: list[str]
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if request.query["transport"] == "polling":
            return web.Response(status=500)
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        for text in sent:
            await websocket.send_str(text)
        await websocket.close(code=code, message=reason.encode())
        return websocket

    started = time.monotonic()
    async with serving(answering(handler)) as url:
        error = await refusal(url, STT_TRANSPORT=transport, STT_CONNECT_TIMEOUT_S="20")
    assert type(error) is kind, str(error)
    assert time.monotonic() - started < allowed_s(10)
    if transport == "websocket":
        assert f"closed with {code}" in str(error)
        assert reason in str(error)


@pytest.mark.parametrize(("code", "reason"), [(1008, "Invalid API key"), (4402, ""), (1000, ""), (1013, "later")])
async def test_a_close_of_an_accepted_connection_is_the_reason_of_its_loss(code: int, reason: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        websocket = web.WebSocketResponse()
        await websocket.prepare(request)
        await websocket.send_str(OPEN)
        await websocket.receive()
        await websocket.send_str('40{"sid":"b"}')
        await websocket.close(code=code, message=reason.encode())
        return websocket

    lost: asyncio.Future[Lost] = asyncio.get_running_loop().create_future()
    async with serving(answering(handler)) as url:
        configured = load({"STT_API_KEY": "the-key", "STT_TRANSPORT": "websocket"})
        opened = Client(url, configured.api_key, configured, lambda *_: None, lost.set_result)
        await opened.open()
        async with asyncio.timeout(allowed_s(25)):
            text = f"closed with {code}: {reason}" if reason else f"closed with {code}"
            assert await lost == Lost(text, code, reason)
        await opened.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_server_that_closes_without_an_answer(scheme: str) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    try:
        error = await refusal(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
    expected = "use https://" if scheme == "http" else "closed the connection during the TLS handshake"
    assert expected in str(error)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_addresses_that_fail_for_different_reasons_are_no_tls_problem(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise OSError("Multiple exceptions: [Errno 111] refused, [Errno 101] no network")

    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", fail)
    error = await refusal(f"{scheme}://127.0.0.1:9")
    assert "TLS" not in str(error)
    assert "Multiple exceptions" in str(error)


@pytest.mark.parametrize("status", [403, 502, 503, 404])
async def test_a_refusal_that_a_forwarding_proxy_may_have_sent_names_the_proxy(status: int) -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text="<html><title>Blocked</title></html>", content_type="text/html")

    async with serving(answering(handler)) as proxy:
        error = await refusal("http://stt.test:9201", STT_PROXY=proxy)
    assert f"through the proxy {proxy}" in str(error)
    assert "STT_PROXY" in str(error)


async def test_the_library_prints_nothing_past_the_log() -> None:
    for name in ("socketio.client", "engineio.client"):
        logging.getLogger(name).handlers.clear()
    await refusal("http://127.0.0.1:9")
    assert not [h for name in ("socketio.client", "engineio.client") for h in logging.getLogger(name).handlers]


async def test_nothing_listens() -> None:
    error = await refusal("http://127.0.0.1:1")
    assert type(error) is EndpointUnavailable
    assert "Cannot connect to host 127.0.0.1:1" in str(error)
    assert "check STT_URL" in str(error)


@limit_of(3.0)
async def test_a_connect_that_hangs_ends_within_its_bound(limit_s: float) -> None:
    async def handler(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(answering(handler)) as url:
        started = time.monotonic()
        error = await refusal(url, **ENDS_SOON)
        assert time.monotonic() - started < limit_s
    assert type(error) is EndpointUnavailable
    assert "within 1 s" in str(error)


def refusing_in_band(reason: str) -> web.Application:
    sio = socketio.AsyncServer(async_mode="aiohttp")

    @sio.event
    async def connect(sid: str, environ: object, auth: object = None) -> None:
        raise socketio.exceptions.ConnectionRefusedError(reason)

    app = web.Application()
    sio.attach(app, messages.PATH)
    return app


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("Invalid API key", AuthRefused), ("Too many connections", EndpointBusy), ("rate_limited", EndpointBusy)],
)
async def test_refused_in_band(reason: str, kind: type[EndpointError]) -> None:
    async with serving(refusing_in_band(reason)) as url:
        error = await refusal(url)
    assert type(error) is kind
    assert reason in str(error)


async def test_a_proxy_that_lets_only_polling_through() -> None:
    sio = socketio.AsyncServer(async_mode="aiohttp")
    heard: asyncio.Queue[object] = asyncio.Queue()

    @sio.on(messages.START)
    async def start(sid: str, payload: object) -> None:
        await heard.put(payload)

    @web.middleware
    async def proxy(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.query.get("transport") == "websocket":
            raise web.HTTPBadRequest(text="no upgrades here")
        return await handler(request)

    app = web.Application(middlewares=[proxy])
    sio.attach(app, messages.PATH)
    async with serving(app) as url:
        connection = client(url)
        await connection.open()
        assert await connection.emit(messages.START, {"sampleRate": 16000})
        assert await asyncio.wait_for(heard.get(), allowed_s(5)) == {"sampleRate": 16000}
        await connection.close()


@limit_of(2.0)
async def test_a_peer_that_reads_nothing_does_not_hold_the_close(limit_s: float) -> None:
    stuck = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str('0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000}')
        assert str((await socket.receive()).data).startswith("40")
        await socket.send_str('40{"sid":"y"}')
        request.transport.pause_reading()  # type: ignore[union-attr]
        await stuck.wait()
        return socket

    async with serving(answering(handler)) as url:
        connection = client(url)
        await connection.open()
        assert left_tasks() != [], "an open connection has its loops, so their absence means something"
        sending = asyncio.create_task(send_forever(connection))
        await asyncio.sleep(0.3)
        assert not sending.done(), "the peer takes nothing, so the emit must wait"
        sending.cancel()
        started = time.monotonic()
        await connection.close()
        assert time.monotonic() - started < limit_s
        assert left_tasks() == []
        stuck.set()


async def send_forever(connection: Client) -> None:
    while await connection.emit(messages.CHUNK, {"audio_base_64": "A" * 500_000}):
        pass


@pytest.mark.parametrize("said", ['["a", "b"]', "[]", '{"message": {"a": 1}}', "null", "7", '"busy"'])
async def test_any_form_of_a_refusal_is_one_error(said: str) -> None:
    """If the refusal is a list, the library calls the handler with more arguments than its own servers cause."""

    async def refuse(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        hello = {"sid": "x", "upgrades": [], "pingTimeout": 20000, "pingInterval": 25000, "maxPayload": 1000}
        await socket.send_str(f"0{json.dumps(hello)}")
        await socket.receive()
        await socket.send_str(f"44{said}")
        await socket.receive()
        return socket

    loop, left = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: left.append(context))
    async with serving(answering(refuse)) as url:
        await refusal(url, STT_TRANSPORT="websocket")
    await asyncio.sleep(0)
    gc.collect()
    assert not left


@pytest.mark.parametrize("transport", ["auto", "websocket", "polling"])
@pytest.mark.parametrize("status", [200, 201, 204])
@pytest.mark.parametrize(
    "body",
    ["", "0", "0{}", "0null", "0[]", "0{", "0 ", "{}", "[]", "OK", "\0", '0{"sid": 1}',
     '0{"sid": "a", "upgrades": null, "pingInterval": 1e400, "pingTimeout": 1}',
     '0{"sid": "a", "upgrades": [], "pingInterval": "x", "pingTimeout": null}'],
    ids=lambda body: body[:12] or "empty",
)  # fmt: skip
async def test_an_answer_that_is_no_handshake_is_named(body: str, status: int, transport: str) -> None:
    """Of a captive portal, a health check that answers every path, or another API."""

    async def handler(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async with serving(answering(handler)) as url:
        error = await refusal(url, STT_TRANSPORT=transport)
    assert isinstance(error, EndpointUnavailable)
    assert "check STT_URL" in str(error)


@pytest.mark.parametrize(
    ("scheme", "proxy"), [("http", "http"), ("http", "https"), ("https", "https"), ("https", "http")]
)
async def test_a_proxy_that_never_answers_ends_within_the_timeout(scheme: str, proxy: str) -> None:
    opened: list[asyncio.StreamWriter] = []

    async def silence(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)

    server = await asyncio.start_server(silence, "127.0.0.1", 0)
    address = f"{proxy}://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        async with asyncio.timeout(allowed_s(12)):
            with pytest.raises(EndpointError, match="no connection through the proxy"):
                await client(f"{scheme}://stt.test:9201", STT_PROXY=address, **ENDS_SOON).open()
        assert left_tasks() == []
    finally:
        for writer in opened:
            writer.close()
        server.close()
