"""Limits the TCP connections of the server: their number, and their time without an accepted request.

A connection is *unauthenticated* until one of its requests is accepted, because it has a key or the id of a session. An
unauthenticated connection is closed after one response, or after `UNAUTHENTICATED_S` seconds. The number of
unauthenticated connections is limited in total and per peer. Above a limit, a new connection replaces the oldest
unauthenticated one. So a flood of unfinished requests cannot lock out a client with a key, because that client's
connection is unauthenticated only for the milliseconds of its first request.

The objects of aiohttp are created only when the headers of a connection's first request are complete. This reduces the
memory of a connection without a complete request from 25 KB to 2 KB.

Behind a reverse proxy, all clients have the address of the proxy, so they share one limit per peer.
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
"""Maximum seconds from the start of a connection until a request on it is accepted."""
IDLE_S: Final = 75.0
"""Maximum seconds between two requests on a connection. It is longer than the 60 s of common proxies, so that the proxy
closes idle connections first, and sends no request on a connection that this server is closing."""
MAX_HEAD_BYTES: Final = 16_384
"""Maximum size of the request line and all headers on an unauthenticated connection."""
# With MAX_HEAD_BYTES, all unauthenticated connections together buffer at most 17 MB.
MAX_UNAUTHENTICATED: Final = 1024
MAX_UNAUTHENTICATED_PER_PEER: Final = 512
_RESERVED_FILES: Final = 128
"""Number of file descriptors kept free for other uses: the model, logs, DNS, the listening socket."""
_BACKLOG: Final = 4096
"""Maximum number of connections that the kernel queues until the process accepts them."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Maximum numbers of simultaneous connections. `unauthenticated_s`: maximum seconds of a connection without an
    accepted request."""

    total: int
    unauthenticated: int = MAX_UNAUTHENTICATED
    unauthenticated_per_peer: int = MAX_UNAUTHENTICATED_PER_PEER
    unauthenticated_s: float = UNAUTHENTICATED_S


def limits_for(with_key: int) -> ConnectionLimits:
    """Return limits that allow `with_key` authenticated connections, or fewer if the process cannot open so many files.

    Raises the process's soft limit of open files if necessary, at most to its hard limit. Logs a warning if the hard
    limit is too low.
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
    """Counts and limits the TCP connections of one listening socket. Must be used on one event loop only."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        # The oldest connection first, each with the timer that aborts it.
        self._unauthenticated: dict[asyncio.Transport, asyncio.TimerHandle] = {}
        # The unauthenticated connections of each peer, the oldest first. The inner dicts are ordered sets.
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
        # The queue of unaccepted connections (`backlog`) is long. While this queue is full, the kernel drops SYN
        # packets, and clients repeat them only after a second or more.
        self._listening = await self._loop.create_server(
            lambda: _HeaderReader(self, server), host or None, port, backlog=_BACKLOG
        )
        return int(self._listening.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Accept no new connections. Open connections are not closed."""
        if self._listening is not None:
            self._listening.close()

    def drop_unauthenticated(self) -> None:
        """Abort all connections without an accepted request."""
        for transport in list(self._unauthenticated):
            self._abort(transport)

    def accept(self, transport: asyncio.Transport) -> bool:
        """Count a new connection. At a limit, abort an unauthenticated connection to make room for it. Returns False if
        the new connection must be closed, because all connections up to the limit are authenticated."""
        of_peer = self._of_peer[_peer(transport)]
        # A peer at its limit loses its own oldest connection, not one of another peer.
        if len(of_peer) >= self._limits.unauthenticated_per_peer:
            self._abort(next(iter(of_peer)))
        elif len(self._unauthenticated) >= self._limits.unauthenticated or (
            self.total >= self._limits.total and self._unauthenticated
        ):
            self._abort(next(iter(self._unauthenticated)))
        if self.total >= self._limits.total:
            # The lookup above may have created an empty entry for the peer in `_of_peer`; `remove` deletes it.
            self.remove(transport)
            return False
        self._of_peer[_peer(transport)][transport] = None
        self._unauthenticated[transport] = self._loop.call_later(self._limits.unauthenticated_s, self._abort, transport)
        return True

    def is_authenticated(self, transport: asyncio.BaseTransport | None) -> bool:
        return transport in self._authenticated

    def mark_authenticated(self, transport: asyncio.Transport | None) -> None:
        """Mark a connection as authenticated, because one of its requests was accepted."""
        if transport is not None and transport in self._unauthenticated:
            self.remove(transport)
            self._authenticated.add(transport)

    def remove(self, transport: asyncio.Transport) -> None:
        """Stop counting a connection that is closed."""
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
    """Reads a connection until the headers of its first request are complete, then passes the connection to aiohttp."""

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
        # The end of the headers has 4 bytes, of which 3 may have arrived before `data`.
        start = max(0, len(self._head) - 3)
        self._head += data
        # Search only for the end of the headers, with \r\n or a bare \n. aiohttp validates the request, and refuses
        # lines that end in a bare \n.
        ends = [at for end in (b"\r\n\r\n", b"\n\n") if (at := self._head.find(end, start)) >= 0]
        if min(ends, default=len(self._head)) > MAX_HEAD_BYTES:
            transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n")
            self._refused = True
            transport.close()
        elif ends:
            handler = _CountedHttpHandler(self._connections, self._server)
            transport.set_protocol(handler)
            # aiohttp gets the connection and all bytes read so far, as if they had just arrived.
            handler.connection_made(transport)
            handler.data_received(self._head)
            self._transport, self._head = None, b""

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.remove(self._transport)


class _CountedHttpHandler(web.RequestHandler):
    """aiohttp's handler of one connection, which also removes the connection from the count when it is closed."""

    __slots__ = ("_connections", "_counted")

    def __init__(self, connections: TcpConnections, server: web.Server) -> None:
        options: dict[str, Any] = {
            "access_log": None,
            "keepalive_timeout": IDLE_S,
            # Do not read the body of a refused request: 200 posts of 8 MB would keep the event loop busy for seconds.
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
    """Return the name of a connection's peer for the limit per peer. This is its IPv4 address or its IPv6 /64 network,
    because one customer usually owns a whole /64. Empty if the address is unknown."""
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
