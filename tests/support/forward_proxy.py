"""A forward proxy for tests, as companies have it: HTTP (CONNECT and forwarded requests) and SOCKS5, with a login.

It resolves the names in `hosts` to this machine, so a test can use the name of a host that the client cannot resolve.
That proves that the connection went through the proxy."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.ports import free_port

HOP_BY_HOP = (b"proxy-authorization", b"proxy-connection", b"connection", b"upgrade", b"keep-alive")


@dataclass
class ForwardProxy:
    """A running proxy. `hosts`: names that it resolves to this machine. `login`: `user:password`. `connect_ports`:
    ports to which CONNECT is allowed (default: all). `answer`: status with which all requests are refused, or 0.
    `silent`: whether it answers nothing."""

    hosts: tuple[str, ...] = ("service.test",)
    login: str = ""
    connect_ports: tuple[int, ...] | None = None
    answer: int = 0
    silent: bool = False
    requests: list[str] = field(default_factory=list)
    """First line of each request, and `SOCKS host:port` for SOCKS. Requests without the required login are left out."""
    logins: list[str] = field(default_factory=list)
    """User and password of each request with a login."""
    headers: list[bytes] = field(default_factory=list)
    """The head of each request in `requests`."""
    port: int = 0
    scheme: str = "http"

    def url(self, scheme: str = "", login: str = "") -> str:
        return f"{scheme or self.scheme}://{f'{login}@' if login else ''}127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if self.silent:
                await reader.read()
            elif first == b"\x05":
                await self._socks(reader, writer)
            else:
                await self._http(first, reader, writer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _http(self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = first + await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.rstrip().split(b"\r\n")
        given = next((f.split(b" ")[2] for f in fields if f.lower().startswith(b"proxy-authorization: basic ")), b"")
        if given:
            self.logins.append(base64.b64decode(given).decode())
        if self.login and (not given or self.logins[-1] != self.login):
            return await self._refuse(writer, "407 Proxy Authentication Required")
        self.requests.append(line.decode())
        self.headers.append(head)
        if self.answer:
            return await self._refuse(writer, f"{self.answer} Refused")
        method, target, _ = line.decode().split(" ")
        if method != "CONNECT":
            return await self._forward(method, target, fields, reader, writer)
        host, _, port = target.rpartition(":")
        if self.connect_ports is not None and int(port) not in self.connect_ports:
            return await self._refuse(writer, "403 Forbidden")
        up = await self._open(host.strip("[]"), int(port))
        if up is None:
            return await self._refuse(writer, "503 Service Unavailable")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return await _pump(reader, writer, *up)

    async def _refuse(self, writer: asyncio.StreamWriter, status: str) -> None:
        challenge = 'Proxy-Authenticate: Basic realm="test"\r\n' if status.startswith("407") else ""
        writer.write(f"HTTP/1.1 {status}\r\n{challenge}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()

    async def _forward(
        self,
        method: str,
        target: str,
        fields: list[bytes],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Forward one request and close. Like squid, it drops the header Upgrade, so no websocket passes."""
        url = urlsplit(target)
        up = await self._open(url.hostname or "", url.port or 80)
        if up is None:
            return await self._refuse(writer, "503 Service Unavailable")
        left = [f for f in fields if f.split(b":")[0].lower() not in HOP_BY_HOP]
        path = target.split("/", 3)[3] if target.count("/") > 2 else ""
        head = [f"{method} /{path} HTTP/1.1".encode(), *left, b"Connection: close", b"", b""]
        up[1].write(b"\r\n".join(head))
        return await _pump(reader, writer, *up)

    async def _open(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        try:
            return await asyncio.open_connection("127.0.0.1" if host in self.hosts else host, port)
        except OSError:
            return None

    async def _socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        wanted = 2 if self.login else 0
        if wanted not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, wanted]))
        if self.login:
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            self.logins.append(f"{user.decode()}:{password.decode()}")
            writer.write(bytes([1, int(self.logins[-1] != self.login)]))
            if self.logins[-1] != self.login:
                return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = ".".join(map(str, await reader.readexactly(4)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.requests.append(f"SOCKS {host}:{port}")
        up = await self._open(host, port)
        writer.write(bytes([5, 0 if up else 4, 0, 1, 0, 0, 0, 0, 0, 0]))
        if up is not None:
            await _pump(reader, writer, *up)


async def _pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        with contextlib.suppress(OSError):
            target.close()

    try:
        await asyncio.gather(copy(reader, up_writer), copy(up_reader, writer))
    finally:
        up_writer.close()


@asynccontextmanager
async def forward_proxy(
    proxy: ForwardProxy | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[ForwardProxy]:
    """Run a proxy on a free port. `tls`: its certificate, for a proxy that is reached over https."""
    proxy = proxy or ForwardProxy()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with contextlib.suppress(asyncio.CancelledError):
            await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", free_port(), ssl=tls)
    proxy.port, proxy.scheme = server.sockets[0].getsockname()[1], "https" if tls else "http"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
