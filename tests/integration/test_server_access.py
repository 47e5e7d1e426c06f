"""No access without a key. Tries every form of a request that once opened a session or might do so, and the session ids
of other clients."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.support.service import HEADERS, KEY, caller, service, tones
from tests.support.wait import async_wait_until
from worker.realtime.messages import KEY_HEADER, PATH
from worker.server import socketio_connections
from worker.server.app import RunningServer
from worker.server.fault_options import Fault, FaultKind
from worker.server.tcp_connection_limits import ConnectionLimits, TcpConnections

POLL = "EIO=4&transport=polling"
SOCKET = "EIO=4&transport=websocket"
UPGRADE = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


async def raw(server: RunningServer, request: str | bytes, timeout_s: float = 5) -> tuple[int, str]:
    """Send bytes unchanged. Returns the status and text of the first response, or status 0 without a response."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request if isinstance(request, bytes) else request.encode())
        async with asyncio.timeout(timeout_s):
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.read(65536)
        return int(head.split()[1]), (head + body).decode(errors="replace")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, ""
    finally:
        writer.transport.abort()


def request(target: str, headers: str = "", method: str = "GET", version: str = "1.1") -> str:
    return f"{method} {target} HTTP/{version}\r\nHost: x\r\nConnection: close\r\n{headers}\r\n"


TARGETS = [
    f"{PATH}{slash}?{query}"
    for slash in ("", "/")
    for query in (
        POLL,
        f"{POLL}&sid=",
        f"{POLL}&sid",
        f"{POLL}&sid=&sid=",
        f"{POLL}&sid=unknown",
        f"{POLL}&sid=a&sid=",
        f"{POLL}&%73id=",
        f"{POLL}&SID=",
        f"{POLL}&SID=unknown",
        f"{POLL}&sid=%20",
        f"{POLL}&sid=%00",
        f"{POLL}&x=%26sid%3Dunknown",
        f"{POLL}&sid%3Dunknown",
        f"{POLL};sid=unknown",
        "EIO=4;transport=polling&sid=unknown",
        "EIO=4&EIO=4&transport=polling",
        "EIO=4&transport=polling&transport=websocket",
        f"sid=unknown&{POLL}#sid=unknown",
        f"{POLL}&j=0&sid=",
        f"{POLL}&b64=1&sid=",
        "EIO=3&transport=polling&sid=",
    )
] + [
    f"/{PATH}/?{POLL}",
    f"{PATH}//?{POLL}",
    f"{PATH}/.?{POLL}",
    f"{PATH}/../{PATH.rpartition('/')[2]}?{POLL}",
    f"{PATH.replace('stt', '%73tt')}/?{POLL}",
    f"{PATH.replace('/stt', '%2fstt')}/?{POLL}",
    f"{PATH};x/?{POLL}",
    f"{PATH.upper()}/?{POLL}",
    f"http://elsewhere.example{PATH}/?{POLL}",
    f"http://x{PATH}/?{POLL}&sid=",
]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_no_form_of_a_handshake_opens_a_session_without_a_key(version: str) -> None:
    async with service() as server:
        for target in TARGETS:
            for method in ("GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
                headers = "Content-Length: 0\r\n" if method in ("POST", "PUT", "PATCH") else ""
                status, text = await raw(server, request(target, headers, method, version))
                assert status in (400, 401, 404, 405) or (method, status) == ("OPTIONS", 200), (method, target, text)
                assert "upgrades" not in text, (method, target, text)
        assert server._sockets.sockets == 0
        assert server._sio.eio.sockets == {}


@pytest.mark.parametrize("version", ["1.1", "1.0"])
async def test_no_form_of_a_websocket_opens_a_session_without_a_key(version: str) -> None:
    async with service() as server:
        for target in TARGETS:
            for transport in ("websocket", "polling"):
                for headers in (UPGRADE, "Upgrade: websocket\r\n", "Upgrade: WebSocket\r\nUpgrade: h2c\r\n", ""):
                    wanted = target.replace("transport=polling", f"transport={transport}")
                    text = request(wanted, headers, version=version).replace("Connection: close\r\n", "", 1)
                    status, text = await raw(server, text)
                    assert status in (400, 401, 404), (target, headers, text)
        assert server._sio.eio.sockets == {}


@pytest.mark.parametrize(
    "headers",
    [
        "",
        f"{KEY_HEADER}:\r\n",
        f"{KEY_HEADER}: {KEY}x\r\n",
        f"{KEY_HEADER}: wrong\r\n{KEY_HEADER}: {KEY}\r\n",
        f"{KEY_HEADER}: {KEY}\r\n{KEY_HEADER}: {KEY}\r\n",
        f"{KEY_HEADER}: {KEY},{KEY}\r\n",
        f"Authorization: Bearer {KEY}\r\n",
        f"Cookie: {KEY_HEADER}={KEY}\r\n",
        "X-HTTP-Method-Override: OPTIONS\r\n",
        f"X-Original-URL: {PATH}/?{POLL}&sid=unknown\r\n",
    ],
)
async def test_the_key_is_one_header_with_one_value(headers: str) -> None:
    async with service() as server:
        for target in (f"{PATH}/?{POLL}&api_key={KEY}&{KEY_HEADER}={KEY}", f"{PATH}/?{POLL}&key={KEY}"):
            assert (await raw(server, request(target, headers)))[0] == 401
        assert (await raw(server, request(f"{PATH}/?{POLL}", f"{KEY_HEADER.upper()}: {KEY}\r\n")))[0] == 200


async def handshake(session: aiohttp.ClientSession, server: RunningServer) -> str:
    async with session.get(f"{server.url}{PATH}/?{POLL}", headers=HEADERS) as answer:
        return str(json.loads((await answer.text())[1:])["sid"])


async def upgraded(session: aiohttp.ClientSession, server: RunningServer, sid: str) -> aiohttp.ClientWebSocketResponse:
    socket = await session.ws_connect(f"{server.url}{PATH}/?{SOCKET}&sid={sid}")
    await socket.send_str("2probe")
    assert await socket.receive_str() == "3probe"
    await socket.send_str("5")
    return socket


async def refused(session: aiohttp.ClientSession, server: RunningServer, query: str) -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(f"{server.url}{PATH}/?{query}")
    return caught.value.status


async def test_a_second_websocket_of_a_session_is_refused_and_the_first_loses_nothing() -> None:
    async with service() as server, aiohttp.ClientSession() as session:
        sid = await handshake(session, server)
        first = await upgraded(session, server, sid)
        await first.send_str("40")
        await first.receive_str()
        for _ in range(3):
            assert await refused(session, server, f"{SOCKET}&sid={sid}") == 400
            async with session.get(f"{server.url}{PATH}/?{POLL}&sid={sid}") as answer:
                assert answer.status == 400
        assert sid in server._sockets._upgrades
        await first.send_str('42["start-session",{"sampleRate":16000}]')
        while "session_started" not in (text := await first.receive_str()):
            assert text.startswith("4"), text
        await first.close()
        await async_wait_until(lambda: sid not in server._sockets._upgrades, "the entry is gone with its connection")


async def test_a_second_websocket_is_refused_during_the_probe_and_for_direct_connections() -> None:
    async with service() as server, aiohttp.ClientSession() as session:
        sid = await handshake(session, server)
        first = await session.ws_connect(f"{server.url}{PATH}/?{SOCKET}&sid={sid}")
        assert await refused(session, server, f"{SOCKET}&sid={sid}") == 400
        await first.send_str("2probe")
        assert await first.receive_str() == "3probe"
        assert await refused(session, server, f"{SOCKET}&sid={sid}") == 400
        async with caller(server) as one:
            words, pcm = tones(3)
            await one.start()
            (direct,) = [s for s, socket in server._sio.eio.sockets.items() if socket.upgraded]
            assert await refused(session, server, f"{SOCKET}&sid={direct}") == 400
            await one.say(pcm)
            assert (await one.finish())["code"] == 1000
            assert one.text.split() == [word.text for word in words]
        await first.close()


async def test_a_stalled_upgrade_ends_and_the_session_polls_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketio_connections, "UPGRADE_TIMEOUT_S", 0.2)
    async with service() as server, aiohttp.ClientSession() as session:
        sid = await handshake(session, server)
        url = f"{server.url}{PATH}/?{POLL}&sid={sid}"
        socket = await session.ws_connect(f"{server.url}{PATH}/?{SOCKET}&sid={sid}")
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        await async_wait_until(lambda: not server._sio.eio.sockets[sid].upgrading, "the session polls again")
        async with session.post(url, data="40") as answer:
            assert answer.status == 200
        async with session.get(url) as answer:
            assert (await answer.text()).startswith("40")


@pytest.mark.parametrize("query", [POLL, SOCKET])
async def test_a_handshake_without_a_join_is_dropped(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketio_connections, "JOIN_TIMEOUT_S", 2.0)
    async with service() as server, aiohttp.ClientSession() as session:
        if query == POLL:
            await handshake(session, server)
        else:
            await session.ws_connect(f"{server.url}{PATH}/?{SOCKET}", headers=HEADERS)
        async with caller(server) as joined:
            await async_wait_until(lambda: server._sockets.sockets == 1, "only the one that joined is left")
            await joined.start()


async def test_a_body_is_not_read_before_its_session_is_known() -> None:
    async with service() as server:
        head = request(f"{PATH}/?{POLL}&sid=unknown", "Content-Length: 7900000\r\n", "POST")
        status, text = await raw(server, head + "x" * 1000)
        assert (status, "does not exist" in text) == (400, True), "answered before the body has come"


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ("Content-Length: 9000000\r\n", "4", 413),
        ("Content-Length: 40\r\nContent-Encoding: gzip\r\n", "4" * 40, 415),
        ("Transfer-Encoding: chunked\r\n", "zz\r\n", 400),
        ("Content-Length: 10\r\n", "4", 408),
    ],
)
async def test_bodies_are_bounded(headers: str, body: str, status: int) -> None:
    async with service() as server, aiohttp.ClientSession() as session:
        server._endpoint._bodies._timeout_s = 0.2
        sid = await handshake(session, server)
        text = request(f"{PATH}/?{POLL}&sid={sid}", headers, "POST") + body
        assert (await raw(server, text))[0] == status


async def test_a_session_sends_one_body_at_a_time() -> None:
    async with service() as server, aiohttp.ClientSession() as session:
        sid = await handshake(session, server)
        head = request(f"{PATH}/?{POLL}&sid={sid}", "Content-Length: 10\r\n", "POST")
        first = asyncio.create_task(raw(server, head))
        await async_wait_until(lambda: sid in server._endpoint._posting, "the first body is awaited")
        assert (await raw(server, head))[0] == 400
        first.cancel()


async def test_unauthenticated_connections_are_limited_per_peer_and_in_time() -> None:
    async with service() as server:
        server._connections._limits = ConnectionLimits(
            total=20, unauthenticated=10, unauthenticated_per_peer=6, unauthenticated_s=3
        )
        idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(30)]
        await async_wait_until(lambda: server._connections.unauthenticated == 6, "the newest six are left")
        assert (await raw(server, request(f"{PATH}/?{POLL}", f"{KEY_HEADER}: {KEY}\r\n")))[0] == 200
        assert (await raw(server, request("/healthz")))[0] == 200
        await async_wait_until(lambda: server._connections.unauthenticated == 0, "the rest ran out of time")
        for reader, writer in idle:
            with pytest.raises((ConnectionError, EOFError)):
                await reader.readexactly(1)
            writer.close()
        assert server._connections._of_peer == {}


async def test_one_response_for_a_connection_without_a_key() -> None:
    async with service() as server:
        for target in ("/healthz", "/metrics", "/nothing", f"{PATH}/?{POLL}"):
            _, text = await raw(server, (request(target).replace("Connection: close\r\n", "")) * 3)
            assert text.count("HTTP/1.1 ") == 1
            assert "Connection: close" in text


async def test_headers_are_bounded() -> None:
    async with service() as server:
        assert (await raw(server, "GET /healthz HTTP/1.1\r\n" + "X-A: b\r\n" * 4000))[0] == 431
        assert (await raw(server, "\x16\x03\x01" + "\x00" * 40 + "\r\n\r\n"))[0] == 400
        await async_wait_until(lambda: server._connections.total == 0, "no connection is left")


class FullHouse:
    """A stand-in for the transport of a connection. It reports a given address as that of the peer."""

    def __init__(self, address: str) -> None:
        self.address, self.aborted = address, False

    def get_extra_info(self, _name: str) -> Any:
        return (self.address, 1)

    def abort(self) -> None:
        self.aborted = True


async def test_clients_with_a_key_are_never_replaced() -> None:
    connections = TcpConnections(ConnectionLimits(total=3, unauthenticated=2, unauthenticated_per_peer=2))
    known = [FullHouse(f"10.0.0.{n}") for n in range(3)]
    for one in known:
        assert connections.accept(one)  # type: ignore[arg-type]
        connections.mark_authenticated(one)  # type: ignore[arg-type]
    assert not connections.accept(FullHouse("10.0.0.9"))  # type: ignore[arg-type]
    connections.remove(known[0])  # type: ignore[arg-type]
    first, second = FullHouse("2001:db8::1"), FullHouse("2001:db8::2")
    assert connections.accept(first)  # type: ignore[arg-type]
    assert connections.accept(second)  # type: ignore[arg-type]
    assert (first.aborted, second.aborted, connections.total) == (True, False, 3)
    assert not any(one.aborted for one in known)


async def test_the_faults_of_the_handshake_count_handshakes_however_they_are_written() -> None:
    async with service(faults=[Fault(FaultKind.HTTP, "503", frozenset({1}))]) as server:
        for query in (f"{POLL}&sid=", f"{POLL}&sid=unknown"):
            assert (await raw(server, request(f"{PATH}/?{query}", f"{KEY_HEADER}: {KEY}\r\n")))[0] == 400
        known = request(f"{PATH}/?{POLL}", f"{KEY_HEADER}: {KEY}\r\n")
        assert [(await raw(server, known))[0] for _ in range(2)] == [503, 200]
