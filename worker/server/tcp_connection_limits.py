"""Limits the TCP connections of the server: their number, and their time without an accepted request.

A connection is *unauthenticated* until one of its requests is accepted (with a key or the id of a session). It then
gets `UNAUTHENTICATED_S` seconds in all and one response. The number of unauthenticated connections is limited in total
and per peer. Above a limit a new one replaces the oldest, so a flood of unfinished requests cannot lock out a client
with a key: such a client is unauthenticated only for the milliseconds of its first request. aiohttp objects are created
when the headers of a request are complete, which reduces the cost of an unauthenticated connection from 25 KB to 2 KB.

Behind a reverse proxy all clients have the address of the proxy, so the limit per peer counts them together.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Any, Final, cast

import structlog
from aiohttp import web

_log = structlog.get_logger("worker.server")

UNAUTHENTICATED_S: Final = 10.0
"""Maximum seconds from the connection to the end of the headers of the first accepted request."""
IDLE_S: Final = 75.0
"""Seconds an authenticated connection may be idle between two requests; longer than the 60 s of common proxies."""
MAX_HEAD_BYTES: Final = 16_384
"""Maximum size of the request line and all headers on an unauthenticated connection."""
MAX_UNAUTHENTICATED: Final = 1024
MAX_UNAUTHENTICATED_PER_PEER: Final = 512
_RESERVED_FILES: Final = 128
"""File descriptors for other uses: the model, logs, DNS, the listening socket."""
_BACKLOG: Final = 4096


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Maximum numbers of simultaneous connections."""

    total: int
    unauthenticated: int = MAX_UNAUTHENTICATED
    unauthenticated_per_peer: int = MAX_UNAUTHENTICATED_PER_PEER
    unauthenticated_s: float = UNAUTHENTICATED_S


def limits_for(with_key: int) -> ConnectionLimits:
    """Limits that allow `with_key` authenticated connections, as far as the process may open files.

    Raises the soft limit of open files up to the hard limit, and logs a warning if that is too low.
    """
    wanted = with_key + MAX_UNAUTHENTICATED
    soft, hard = getrlimit(RLIMIT_NOFILE)
    needed = wanted + _RESERVED_FILES
    if soft != RLIM_INFINITY and soft < needed:
        soft = needed if hard == RLIM_INFINITY else min(needed, hard)
        setrlimit(RLIMIT_NOFILE, (soft, hard))
    if soft == RLIM_INFINITY or soft >= needed:
        return ConnectionLimits(wanted)
    total = max(16, soft - _RESERVED_FILES)
    _log.warning(
        "the limit of open files allows fewer connections than STT_SERVER_MAX_SESSIONS may need; raise it (ulimit -n)",
        open_files=soft,
        connections=total,
        needed=needed,
    )
    unauthenticated = min(MAX_UNAUTHENTICATED, max(8, total // 2))
    return ConnectionLimits(total, unauthenticated, min(MAX_UNAUTHENTICATED_PER_PEER, unauthenticated))


class TcpConnections:
    """The TCP connections of one listening socket. Belongs to one event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._unauthenticated: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # the oldest first
        self._of_peer: defaultdict[str, dict[asyncio.Transport, None]] = defaultdict(dict)
        self._authenticated: set[asyncio.Transport] = set()
        self._listening: asyncio.Server | None = None

    @property
    def unauthenticated(self) -> int:
        """Number of connections without an accepted request."""
        return len(self._unauthenticated)

    @property
    def total(self) -> int:
        return len(self._unauthenticated) + len(self._authenticated)

    async def listen(self, server: web.Server, host: str, port: int) -> int:
        """Accept connections for `server`. Returns the port. Raises OSError."""
        # With a full backlog the kernel drops SYN packets, and clients repeat them after a second or more.
        self._listening = await self._loop.create_server(
            lambda: _HeaderReader(self, server), host or None, port, backlog=_BACKLOG
        )
        return int(self._listening.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()

    def drop_unauthenticated(self) -> None:
        for transport in list(self._unauthenticated):
            self._abort(transport)

    def accept(self, transport: asyncio.Transport) -> bool:
        """Count a new connection. Returns False if it must be closed because all others are authenticated."""
        of_peer = self._of_peer[_peer(transport)]
        # A peer at its limit replaces its own oldest connection, so it cannot displace other peers.
        if len(of_peer) >= self._limits.unauthenticated_per_peer:
            self._abort(next(iter(of_peer)))
        elif len(self._unauthenticated) >= self._limits.unauthenticated or (
            self.total >= self._limits.total and self._unauthenticated
        ):
            self._abort(next(iter(self._unauthenticated)))
        if self.total >= self._limits.total:
            self.remove(transport)
            return False
        self._of_peer[_peer(transport)][transport] = None
        self._unauthenticated[transport] = self._loop.call_later(self._limits.unauthenticated_s, self._abort, transport)
        return True

    def is_authenticated(self, transport: asyncio.BaseTransport | None) -> bool:
        return transport in self._authenticated

    def mark_authenticated(self, transport: asyncio.Transport | None) -> None:
        """Mark a connection as authenticated: one of its requests was accepted."""
        if transport is not None and transport in self._unauthenticated:
            self.remove(transport)
            self._authenticated.add(transport)

    def remove(self, transport: asyncio.Transport) -> None:
        """Remove a closed connection."""
        timer = self._unauthenticated.pop(transport, None)
        if timer is not None:
            timer.cancel()
        self._authenticated.discard(transport)
        peer = _peer(transport)
        of_peer = self._of_peer.get(peer)
        if of_peer is not None:
            of_peer.pop(transport, None)
            if not of_peer:
                del self._of_peer[peer]

    def _abort(self, transport: asyncio.Transport) -> None:
        self.remove(transport)
        transport.abort()


class _HeaderReader(asyncio.Protocol):
    """Reads a connection until the headers of its first request are complete, then passes it to aiohttp."""

    __slots__ = ("_connections", "_head", "_refused", "_server", "_transport")

    def __init__(self, connections: TcpConnections, server: web.Server) -> None:
        self._connections = connections
        self._server = server
        self._head = b""
        self._refused = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's transport is not a subclass
        if not self._connections.accept(self._transport):
            self._refused = True
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        if transport is None or self._refused:
            return
        start = max(0, len(self._head) - 3)
        self._head += data
        # aiohttp validates the request; it refuses lines that end in a bare \n.
        ends = [at for end in (b"\r\n\r\n", b"\n\n") if (at := self._head.find(end, start)) >= 0]
        if min(ends, default=len(self._head)) > MAX_HEAD_BYTES:
            transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
            self._refused = True
            transport.close()
        elif ends:
            handler = _CountedHttpHandler(self._connections, self._server)
            transport.set_protocol(handler)
            handler.connection_made(transport)
            handler.data_received(self._head)
            self._transport, self._head = None, b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.remove(self._transport)


class _CountedHttpHandler(web.RequestHandler):
    """aiohttp's handler of a connection that also reports its end."""

    __slots__ = ("_connections", "_counted")

    def __init__(self, connections: TcpConnections, server: web.Server) -> None:
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": IDLE_S,
            # A refused body is not read: 200 posts of 8 MB cost the event loop seconds otherwise.
            "lingering_time": 0,
            # A compressed body could expand far beyond its length, and no real client sends one.
            "auto_decompress": False,
        }
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._connections = connections
        self._counted: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._counted = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._counted is not None:
            self._connections.remove(self._counted)
            self._counted = None
        super().connection_lost(exc)


def _peer(transport: asyncio.Transport) -> str:
    """The address by which peers are counted. An IPv6 /64 counts as one peer, since one customer usually owns it."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return ""
    try:
        ip = ip_address(str(name[0]).partition("%")[0])
    except ValueError:
        return str(name[0])
    if isinstance(ip, IPv6Address):
        return str(ip.ipv4_mapped or int(ip) >> 64)
    return str(ip)
