"""Private addresses are refused when the connection is made: names, proxies and redirects that lead to them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from tests.unit.storage.test_web_hosts import PRIVATE, UNREADABLE
from worker.errors import SourceError, SourceRefused, SttError
from worker.network.proxy_choice import Route
from worker.settings import load
from worker.storage import guarded_http
from worker.storage.address import parse
from worker.storage.guarded_http import PrivateHost, guarded_session
from worker.storage.sources.web import read
from worker.webhooks.http_post import WebhookSender

# -- connecting ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, list[bytes]]]:
    """Yields a port of this machine on which a server listens, and the data that it received."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(1000))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], received
    finally:
        server.close()


async def fetch(text: str, *, may_be_private: bool = False) -> int:
    async with guarded_session(aiohttp.ClientTimeout(total=5), load({})) as session:
        response = await session.request("GET", parse(text), Route(), may_be_private=may_be_private, headers={})
        return response.status


def resolve_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> None:
    """Make the name server return these lists of addresses, one list for each query; the last one is repeated."""
    left = list(answers)

    def getaddrinfo(_host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        found = left.pop(0) if len(left) > 1 else left[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["168.63.129.16"]])
async def test_a_name_of_a_private_address_is_refused(addresses: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, received):
        resolve_to(monkeypatch, addresses)
        with pytest.raises(PrivateHost):
            await fetch(f"http://files.example.com:{port}/")
        assert received == []


async def test_a_literal_address_is_checked_where_no_resolver_is_asked() -> None:
    async with listening() as (port, received):
        for host in ("127.0.0.1", "[::ffff:127.0.0.1]", "１２７.0.0.1"):
            with pytest.raises(PrivateHost):
                await fetch(f"http://{host}:{port}/")
        assert received == []
        assert await fetch(f"http://127.0.0.1:{port}/", may_be_private=True) == 200


async def test_the_connected_peer_is_checked_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name was changed, or the network leads to another machine, after the check of the address."""
    async with listening() as (port, received):
        monkeypatch.setattr(guarded_http._Resolver, "resolve", guarded_http.aiohttp.ThreadedResolver.resolve)
        monkeypatch.setattr(
            guarded_http._Resolver, "_loop", property(lambda _: asyncio.get_running_loop()), raising=False
        )
        monkeypatch.setattr(guarded_http._Connector, "_socket", lambda _, info: socket.socket(*info[:3]))
        resolve_to(monkeypatch, ["127.0.0.1"])
        with pytest.raises(PrivateHost):
            await fetch(f"http://files.example.com:{port}/")
        await asyncio.sleep(0.05)
        assert not any(received)


async def test_dns_rebinding_does_not_reach_a_private_host(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, received):
        resolve_to(monkeypatch, ["8.8.8.8"], ["127.0.0.1"])
        socket.getaddrinfo("files.example.com", port)  # asked once already, as a check before the download would
        with pytest.raises(PrivateHost):
            await fetch(f"http://files.example.com:{port}/")
        assert received == []


# -- proxies ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def first_bytes(url: str, **settings: str) -> bytes:
    async with read(parse(url), 0, None, load(settings)) as body:
        return b"".join([chunk async for chunk in body.chunks])


@pytest.mark.usefixtures("no_proxy")
async def test_through_a_proxy_a_list_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, received):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        url = "http://files.example.com/a.wav"
        with pytest.raises(SourceRefused, match=r"through a proxy \(http_proxy\).*STT_ALLOWED_SOURCES"):
            await first_bytes(url)
        assert received == []
        assert await first_bytes(url, STT_ALLOWED_SOURCES="http://files.example.com") == b"ok"
        assert received[0].startswith(b"GET http://files.example.com/a.wav HTTP/1.1")
        # The proxy must not give access to private addresses, nor to services on its own host.
        for private in (f"http://127.0.0.1:{port}/", "http://１69.254.169.254/", "http://metadata.google.internal/"):
            with pytest.raises(SourceRefused):
                await first_bytes(private, STT_ALLOWED_SOURCES="http://files.example.com, http://*.internal")
        assert len(received) == 1


@pytest.mark.usefixtures("no_proxy")
async def test_the_host_of_a_proxy_is_judged_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, received):
        monkeypatch.setenv("https_proxy", f"http://files.example.com:{port}")
        resolve_to(monkeypatch, ["127.0.0.1"])
        with pytest.raises(SourceRefused, match="private address"):
            await first_bytes(f"http://files.example.com:{port}/")
        assert received == []


@pytest.mark.usefixtures("no_proxy")
async def test_webhooks_through_a_proxy_need_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    async with listening() as (port, received):
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        secret = {"STT_WEBHOOK_SECRET": "x" * 24}
        answer = await WebhookSender(load(secret)).send(parse("http://hooks.example.com/a"), "msg_1", b"{}", 0)
        assert (answer.final, "STT_ALLOWED_WEBHOOKS" in answer.reason) == (True, True)
        assert received == []
        listed = load({**secret, "STT_ALLOWED_WEBHOOKS": "http://hooks.example.com"})
        assert (await WebhookSender(listed).send(parse("http://hooks.example.com/a"), "msg_1", b"{}", 0)).delivered
        assert received[0].startswith(b"POST http://hooks.example.com/a HTTP/1.1")


# -- redirects -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize(
    "host", [*PRIVATE[:6], *PRIVATE[-6:], "[::1]", *UNREADABLE[:12], "user@127.0.0.1", "[::1%25lo]"]
)
async def test_a_redirect_is_judged_like_the_address_itself(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        target = f"http://{host}/secret?token=1"
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(SourceError) as caught:
            await first_bytes(
                f"http://127.0.0.1:{port}/a.wav", STT_ALLOWED_SOURCES=f"http://127.0.0.1:{port}, http://*.example"
            )
        assert "token" not in str(caught.value)
        assert isinstance(caught.value, SttError)
    finally:
        server.close()
