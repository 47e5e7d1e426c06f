"""Packets that a client may not send: each is answered at once, and no request, task or connection remains."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from tests.support.service import HEADERS, caller, service, tones
from tests.support.wait import allowed_s, async_wait_until
from worker.realtime import messages
from worker.server import websocket_frames
from worker.server.app import RunningServer

PATH = f"{messages.PATH}/?EIO=4"
POLL = f"{PATH}&transport=polling"
START = '42["start-session",{"sampleRate":16000}]'
ORIGIN = {"Origin": "https://example.com"}
BODIES = ["6", "2", "0", "2probe", "5", '42["stop-session"]\x1e6']
MALFORMED = [
    *("4", "4x", "42", "42[]", "42null", "42{}", "42[", "42[null]", '42[{"a":1}]', START[:-1], "44{}", "48"),
    *('42["connect"]', '42["disconnect"]', '42["disconnect","x"]', '42["connect_error"]', '42["*"]', '421["connect"]'),
    *(f'42["start-session",{{"sampleRate":1{"0" * digits}}}]' for digits in (400, 5000)),
    *("42" + "[" * 50_000, '42/other,["start-session"]', f'40/{"x" * 1000},', "4null", '4["a"]'),
    *("46", '450-["a"]', '45["a"]', '452-["a"]', "b", b"", b"\x00"),
]  # fmt: skip


@asynccontextmanager
async def websocket(
    server: RunningServer, headers: dict[str, str] = HEADERS
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Open a websocket that has not joined the namespace yet."""
    async with aiohttp.ClientSession(headers=headers) as client:
        socket = await client.ws_connect(f"{server.url}{PATH}&transport=websocket")
        assert (await socket.receive_str()).startswith("0")
        yield socket
        await socket.close()


async def answer(socket: aiohttp.ClientWebSocketResponse) -> str:
    return await socket.receive_str(timeout=allowed_s(1))


@pytest.mark.parametrize("headers", [HEADERS, ORIGIN], ids=["key", "no key"])
async def test_a_polling_request_with_a_packet_of_the_server_is_refused_at_once(headers: dict[str, str]) -> None:
    async with service() as server, aiohttp.ClientSession(headers=headers) as client:
        for body in BODIES:
            async with client.get(f"{server.url}{POLL}") as response:
                sid = json.loads((await response.text())[1:])["sid"]
            before = len(asyncio.all_tasks())
            timeout = aiohttp.ClientTimeout(total=allowed_s(1))
            async with client.post(f"{server.url}{POLL}&sid={sid}", data=body, timeout=timeout) as response:
                assert response.status == 400, body
                assert "the body has an invalid packet" in (await response.json())["message"]
            assert sid not in server._sio.eio.sockets
            assert not server._endpoint._posting
            await async_wait_until(lambda most=before: len(asyncio.all_tasks()) <= most, "no task remains", 2)


async def test_a_body_of_a_session_that_ends_meanwhile_is_refused() -> None:
    async with service() as server, aiohttp.ClientSession(headers=HEADERS) as client:
        for rest in (b"0", b"?"):
            async with client.get(f"{server.url}{POLL}") as response:
                sid = json.loads((await response.text())[1:])["sid"]

            async def body(sid: str = sid, rest: bytes = rest) -> AsyncIterator[bytes]:
                yield b"4"
                await async_wait_until(lambda: sid in server._endpoint._posting, "the server reads the body")
                await server._sockets.close_session(sid)
                yield rest

            async with client.post(f"{server.url}{POLL}&sid={sid}", data=body()) as response:
                assert (response.status, (await response.json())["code"]) == (400, 1)


async def test_packets_after_the_end_of_a_connection_leave_nothing_behind() -> None:
    async with service() as server, aiohttp.ClientSession(headers=ORIGIN) as client:
        for body in ("1\x1e40", "40\x1e1\x1e40", '1\x1e451-["a"]', '451-["a"]\x1e1', '40\x1e451-["a"]\x1e1'):
            async with client.get(f"{server.url}{POLL}") as response:
                sid = json.loads((await response.text())[1:])["sid"]
            async with client.post(f"{server.url}{POLL}&sid={sid}", data=body) as response:
                assert response.status == 200
        sio = server._sio
        assert (sio.manager.rooms, sio.manager.pending_connect, sio._binary_packet, sio.environ) == ({}, {}, {}, {})


async def test_each_malformed_message_gets_an_error_and_the_connection_serves_a_session(
    caplog: pytest.LogCaptureFixture,
) -> None:
    words, pcm = tones(4)
    async with service() as server:
        async with websocket(server) as socket:
            await socket.send_str("40")
            assert (await answer(socket)).startswith("40")
            for data in MALFORMED:
                await (socket.send_str(data) if isinstance(data, str) else socket.send_bytes(data))
                assert "session-error" in await answer(socket), data
            await socket.send_str(START)
            assert "session-started" in await answer(socket)
        async with caller(server) as one:
            await one.emit("disconnect", "x")
            await one.start()
            await one.say(pcm)
            assert (await one.finish())["code"] == 1000
            assert one.text.split() == [word.text for word in words]
            assert one.errors == ["invalid_request: the event name disconnect is reserved"]
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_malformed_message_of_a_polling_client_gets_an_error() -> None:
    async with service() as server, aiohttp.ClientSession(headers=HEADERS) as client:
        async with client.get(f"{server.url}{POLL}") as response:
            url = f"{server.url}{POLL}&sid={json.loads((await response.text())[1:])['sid']}"
        for body, expected in (("40", "40{"), ("42[", "session-error"), ('42["disconnect"]', "session-error")):
            async with client.post(url, data=body) as response:
                assert response.status == 200
            async with client.get(url, timeout=aiohttp.ClientTimeout(total=allowed_s(1))) as response:
                assert expected in await response.text()


@pytest.mark.parametrize("data", ["40{", "42[", '42["connect"]', "x", '40{"token":"x"'])
async def test_a_malformed_message_before_the_join_gets_a_connect_error(data: str) -> None:
    async with service() as server, websocket(server, ORIGIN) as socket:
        await socket.send_str(data if data != "x" else "4x")
        kind, _, reason = (await answer(socket)).partition("{")
        assert kind == "44"
        assert reason.startswith(('"message":"input_error: ', '"message":"invalid_request: '))


async def test_a_missing_attachment_does_not_cost_the_next_message() -> None:
    async with service() as server, websocket(server) as socket:
        await socket.send_str("40")
        assert (await answer(socket)).startswith("40")
        await socket.send_str('451-["start-session",{"_placeholder":true,"num":0}]')
        await socket.send_str(START)
        assert "attachment of an event is missing" in await answer(socket)
        assert "session-started" in await answer(socket)


async def test_an_attachment_with_another_number_is_refused() -> None:
    async with service() as server, websocket(server) as socket:
        await socket.send_str("40")
        assert (await answer(socket)).startswith("40")
        await socket.send_str('451-["start-session",{"_placeholder":true,"num":5}]')
        await socket.send_bytes(b"x")
        assert "attachment of an event is invalid" in await answer(socket)
        await socket.send_str(START)
        assert "session-started" in await answer(socket)


async def test_frames_that_a_client_may_not_send_are_neither_answered_nor_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with service() as server, websocket(server) as socket:
        await socket.send_str("40")
        assert (await answer(socket)).startswith("40")
        for frame in ("5", "2", "2probe", "6", "0", "7"):
            await socket.send_str(frame)
        await socket.send_str(START)
        assert "session-started" in await answer(socket)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_too_many_malformed_messages_end_the_session_and_then_the_connection() -> None:
    async with service() as server, websocket(server) as socket:
        await socket.send_str("40")
        await socket.send_str(START)
        for _ in range(250):
            await socket.send_str("42[")
        received = ""
        async with asyncio.timeout(allowed_s(5)):
            async for message in socket:
                received += message.data
        assert '["session-closed",{"code":1008,"reason":"too many errors"}]' in received
        assert received.count("session-error") < 220
        assert not server._sio.eio.sockets


async def test_the_packet_close_ends_the_websocket_at_once() -> None:
    async with service() as server, websocket(server) as socket:
        await socket.send_str("40")
        assert (await answer(socket)).startswith("40")
        await socket.send_str("1")
        assert (await socket.receive(timeout=allowed_s(1))).type is aiohttp.WSMsgType.CLOSE
        await async_wait_until(lambda: not server._sio.eio.sockets, "the connection is gone", 2)


async def test_a_closed_connection_whose_client_does_not_read_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The task that sends the messages would otherwise wait forever, and with it the request of the websocket."""
    monkeypatch.setattr(websocket_frames, "SEND_TIMEOUT_S", 0.3)
    async with service() as server, websocket(server) as socket:
        await socket.send_str("40")
        assert (await answer(socket)).startswith("40")
        transport = socket._response.connection.transport  # type: ignore[union-attr]
        transport.pause_reading()
        (sid,) = server._sockets._connections
        for _ in range(900):
            await server._sockets._emit(sid, messages.TRANSCRIPT, {"text": "x" * 20_000})
        await socket.send_str("1")
        await async_wait_until(lambda: not server._sio.eio.sockets, "the request of the websocket ends", 3)
        transport.abort()
