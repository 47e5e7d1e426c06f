"""Direct writes of the client on its websocket: their content, their order, and errors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from tests.support.wait import async_wait_until
from worker.realtime import client as client_module
from worker.realtime import messages
from worker.realtime.client import Client
from worker.realtime.library_transport import free_websocket
from worker.settings import load

EVENTS: list[tuple[str, dict[str, Any] | None]] = [
    (messages.START, messages.start_session(16000)),
    (messages.CHUNK, messages.audio_chunk("AAEC/+8=", 16000)),
    ("說", {"text": 'a "quoted" 詞\n', "number": 0.25, "nothing": None}),
    (messages.STOP, None),
]


class Peer:
    """A server that speaks only Engine.IO and records the text of every message. It reads nothing until `reading` is
    set."""

    ping_s = 25.0

    def __init__(self) -> None:
        self.url = ""
        self.said: list[str] = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.socket: web.WebSocketResponse | None = None
        self.transport: asyncio.Transport | None = None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self.transport = request.transport
        self.socket = socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        ping_ms = int(self.ping_s * 1000)
        await socket.send_str(f'0{{"sid":"s","upgrades":[],"pingInterval":{ping_ms},"pingTimeout":{ping_ms}}}')
        while (message := await socket.receive()).type is WSMsgType.TEXT:
            if message.data == "40{}":
                await socket.send_str('40{"sid":"s"}')
            else:
                self.said.append(message.data)
            if not self.reading.is_set():
                assert self.transport
                self.transport.pause_reading()
                await self.reading.wait()
                self.transport.resume_reading()
        return socket


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Client, Peer, list[messages.Lost]]]:
    """Yields a client, its server, and the list of losses of its connection that the client has reported."""
    peer = Peer()
    drops: list[messages.Lost] = []
    app = web.Application()
    app.router.add_get(f"{messages.PATH}/", peer.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = load({"STT_URL": f"http://127.0.0.1:{runner.addresses[0][1]}", "STT_TRANSPORT": "websocket"})
    client = Client(settings.url, settings.api_key, settings, lambda *_: None, drops.append)
    try:
        await client.open()
        yield client, peer, drops
    finally:
        peer.reading.set()
        await client.close()
        await runner.cleanup()


async def said(peer: Peer, count: int) -> list[str]:
    await async_wait_until(lambda: len(peer.said) >= count, f"{count} messages; so far {peer.said}")
    return peer.said


async def test_it_writes_what_the_library_would(monkeypatch: pytest.MonkeyPatch) -> None:
    both = []
    for past_the_queue in (True, False):
        with monkeypatch.context() as patch:
            if not past_the_queue:
                patch.setattr(client_module, "free_websocket", lambda _: None)
            async with connected() as (client, peer, _):
                assert [await client.emit(*event) for event in EVENTS] == [True] * len(EVENTS)
                both.append(await said(peer, len(EVENTS)))
    assert both[0] == both[1]
    assert both[0][1] == '42["audio-chunk",{"audio_base_64":"AAEC/+8=","sample_rate":16000}]'


async def test_what_is_queued_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    free = free_websocket
    monkeypatch.setattr(client_module, "free_websocket", lambda sio: taken.append(free(sio)) or taken[-1])
    async with connected() as (client, peer, _):
        assert client._sio
        await client.emit("start")  # the first message always goes through the queue
        await client._sio.emit("first")  # only queued: nothing else has run since
        await client.emit("second")
        await client.emit("third")
        assert await said(peer, 4) == ['42["start"]', '42["first"]', '42["second"]', '42["third"]']
    # The second message waits for the queue, and is then written directly, like the third.
    assert [one is None for one in taken] == [True, False, False]


async def test_a_connection_ends_if_the_service_sends_nothing_although_frames_bypass_the_queue(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Peer, "ping_s", 0.2)
    chunk = messages.audio_chunk("AAEC/+8=", 16000)
    async with connected() as (client, _, drops):
        assert await client.emit(messages.START)
        assert client._sio
        eio = client._sio.eio
        assert eio.ping_interval + eio.ping_timeout == pytest.approx(2 * 0.2)  # maximum time without a message
        for _ in range(400):
            if not await client.emit(messages.CHUNK, chunk):
                break
            await asyncio.sleep(0.05)
        assert len(drops) == 1


async def test_a_late_ping_does_not_end_a_connection_that_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Peer, "ping_s", 0.25)  # five seconds more, and the library gives up a queue it sees nothing in
    chunk = messages.audio_chunk("AAEC/+8=", 16000)
    began = time.monotonic()
    async with connected() as (client, peer, drops):
        while time.monotonic() - began < 5.6:
            assert peer.socket is not None
            await peer.socket.send_str('42["news"]')  # something is heard, but no ping
            assert await client.emit(messages.CHUNK, chunk), drops
            await asyncio.sleep(0.1)
        assert drops == []


async def test_it_waits_for_a_peer_that_does_not_read() -> None:
    async with connected() as (client, peer, _):
        peer.reading.clear()
        chunk, sent = messages.audio_chunk("A" * 400_000, 16000), 0

        async def too_much() -> None:
            nonlocal sent
            for _ in range(200):  # 80 MB, more than sockets hold
                sent += 1
                await asyncio.wait_for(client.emit(messages.CHUNK, chunk), 0.5)

        with pytest.raises(TimeoutError):
            await too_much()
        peer.reading.set()
        assert await client.emit(messages.STOP)
        assert (await said(peer, sent + 1))[-1] == '42["stop-session"]'


async def test_a_connection_that_is_gone() -> None:
    async with connected() as (client, peer, drops):
        assert await client.emit(messages.STOP)
        assert peer.transport
        peer.transport.abort()
        await async_wait_until(lambda: drops, "the client reports the lost connection")
        assert await client.emit(messages.STOP) is False


async def test_a_write_on_a_broken_connection_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is broken, but the client has not noticed it yet."""
    async with connected() as (client, peer, drops):
        assert client._sio
        client._sio.eio.ws._writer.transport.abort()
        assert client._sio.connected
        assert await client.emit(messages.STOP) is False
        await async_wait_until(lambda: drops, "the client reports the lost connection")
        assert peer.said == []
