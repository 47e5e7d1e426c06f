"""A websocket frame that is no Engine.IO packet ends its connection and its session at once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from tests.support.service import HEADERS, caller, service, tones
from tests.support.wait import async_wait_until
from worker.realtime import messages
from worker.server.app import RunningServer

PATH = f"{messages.PATH}/?EIO=4"
START = "42" + json.dumps([messages.START, {"sampleRate": 16000}])
INVALID = ["", "x", "-1", "\x00", " 4", "電話", "\ud7ff", "²", "bA", "b###A", "probe", "{}"]
VALID = ["4", "42", "42[", "6", "7", "b", b"", b"\x00"]
"""Not understood, but no reason to close the connection."""

Connect = Callable[[aiohttp.ClientSession, str], Awaitable[aiohttp.ClientWebSocketResponse]]


async def websocket(client: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    return await client.ws_connect(f"{url}{PATH}&transport=websocket")


async def upgraded(client: aiohttp.ClientSession, url: str) -> aiohttp.ClientWebSocketResponse:
    """Connect by polling, then upgrade to a websocket."""
    async with client.get(f"{url}{PATH}&transport=polling") as response:
        sid = json.loads((await response.text())[1:])["sid"]
    socket = await client.ws_connect(f"{url}{PATH}&transport=websocket&sid={sid}")
    await socket.send_str("2probe")
    assert (await socket.receive_str(timeout=10)) == "3probe"
    await socket.send_str("5")
    return socket


async def started(socket: aiohttp.ClientWebSocketResponse, server: RunningServer) -> None:
    await socket.send_str("40")
    await socket.send_str(START)
    await async_wait_until(lambda: server.sessions == 1, "the session runs")


@pytest.mark.parametrize("connect", [websocket, upgraded], ids=["websocket", "upgraded"])
async def test_an_invalid_frame_ends_its_connection_and_its_session(
    connect: Connect, capfd: pytest.CaptureFixture[str]
) -> None:
    async with service() as server:
        for frame in INVALID:
            async with aiohttp.ClientSession(headers=HEADERS) as client:
                socket = await connect(client, server.url)
                await started(socket, server)
                await socket.send_str(frame)
                while (message := await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT:
                    pass
                assert (message.data, message.extra) == (1002, "a frame is no Engine.IO packet")
                await async_wait_until(lambda: server.sessions == 0, f"the session ends after {frame!r}", 5)
        words, pcm = tones(4)
        async with caller(server) as one:
            await one.start()
            await one.say(pcm)
            assert (await one.finish())["code"] == 1000
            assert one.text.split() == [word.text for word in words]
    assert "Traceback" not in capfd.readouterr().err


async def test_a_packet_without_meaning_does_not_end_the_session() -> None:
    async with service() as server, aiohttp.ClientSession(headers=HEADERS) as client:
        socket = await websocket(client, server.url)
        await started(socket, server)
        for frame in VALID:
            await (socket.send_str(frame) if isinstance(frame, str) else socket.send_bytes(frame))
        await socket.send_str("42" + json.dumps([messages.STOP]))
        while messages.CLOSED not in (text := (await socket.receive_str(timeout=10))):
            pass
        assert '"code":1000' in text.replace(" ", "")


async def test_an_invalid_frame_ends_the_session_of_a_client_that_reads_nothing() -> None:
    async with service() as server, aiohttp.ClientSession(headers=HEADERS) as client:
        socket = await websocket(client, server.url)
        await started(socket, server)
        await socket.send_str("x")
        await async_wait_until(lambda: server.sessions == 0, "the session ends without an answer to the close frame", 5)
