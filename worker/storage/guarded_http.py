"""Sends HTTP requests to addresses from untrusted jobs, without access to private addresses.

The IP addresses of a host are checked when its name has been resolved, and again before a socket is created. The peer
of the connection is checked before the request is sent. So a host name is also refused if it resolves to a private
address only at a later lookup (DNS rebinding).

A proxy (see `worker.network.proxy_choice`) resolves names itself, and connects from another place in the network. Then
only the host name can be checked. So callers refuse an address that needs a proxy unless the settings list the allowed
hosts. This rule also applies to `socks5://`. There this machine resolves the names, but the proxy could still reach
other hosts.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.network.http_session import needs_tunnel, proxy_options, tunnel_connector
from worker.network.proxy_choice import Route, choose_route
from worker.network.tls_context import client_context
from worker.proxy_url import ProxyUrl
from worker.settings import Settings
from worker.storage.address import Address
from worker.storage.web_hosts import is_private

RESOLVE_TIMEOUT_S: Final = 10.0


class PrivateHost(OSError):
    """Raised for a host with a private IP address."""


class GuardedSession:
    """An HTTP session for requests to untrusted addresses. It sends one request at a time."""

    def __init__(self, opened: AsyncExitStack, guard: _Guard, tls: ssl.SSLContext, options: dict[str, Any]) -> None:
        self._opened = opened
        self._guard = guard
        self._tls = tls
        self._options = options
        self._sessions: dict[ProxyUrl | None, aiohttp.ClientSession] = {}

    async def request(
        self,
        method: str,
        address: Address,
        route: Route,
        *,
        may_be_private: bool,
        headers: dict[str, str],
        data: bytes | None = None,
    ) -> aiohttp.ClientResponse:
        """Send one request over a route (see `route_to`). Redirects are not followed: a redirect is returned like any
        other response.

        `may_be_private`: whether the host may have a private IP address. Raises PrivateHost, ValueError for an address
        that is not a web address, and the errors of aiohttp."""
        url = address.http_url
        if url is None:
            raise ValueError(f"{address}: is not a web address")
        # The proxy is passed explicitly (no `trust_env`): the guard must know whether one is used.
        self._guard.checks = route.proxy is None and not may_be_private
        self._guard.refused = False
        proxy = {} if route.proxy is None or needs_tunnel(route, address.scheme) else proxy_options(route.proxy)
        session = await self._session(route if needs_tunnel(route, address.scheme) else Route())
        try:
            return await session.request(method, url, headers=headers, data=data, allow_redirects=False, **proxy)
        except (aiohttp.ClientError, OSError) as exc:
            if self._guard.refused:
                raise PrivateHost(address.host) from exc
            raise

    async def _session(self, route: Route) -> aiohttp.ClientSession:
        """Return the session for a route. One session serves direct connections and HTTP proxies; another one serves a
        SOCKS proxy."""
        found = self._sessions.get(route.proxy)
        if found is None:
            connector = (
                _Connector(self._guard, self._tls)
                if route.proxy is None
                else tunnel_connector(route.proxy, self._tls, force_close=True)
            )
            session = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, **self._options
            )
            found = self._sessions[route.proxy] = await self._opened.enter_async_context(session)
        return found


@asynccontextmanager
async def guarded_session(
    timeout: aiohttp.ClientTimeout, settings: Settings, tls: ssl.SSLContext | None = None
) -> AsyncIterator[GuardedSession]:
    """Open a session without cookies and stored passwords. `tls`: trusted certificates, by default those of the
    settings. Raises SettingsError for a file with certificates that cannot be used."""
    async with AsyncExitStack() as opened:
        yield GuardedSession(opened, _Guard(), tls or client_context(settings), {"timeout": timeout})


def route_to(address: Address, settings: Settings) -> Route:
    """Return the route to a web address: direct, or through a proxy. Raises ProxyUnusable."""
    return choose_route(address.scheme, address.host, address.port or 0, settings)


class _Guard:
    """Refuses private IP addresses. The resolver, the connector and the session share one guard."""

    def __init__(self) -> None:
        self.checks = True
        """Whether private addresses are refused for the current request."""
        self.refused = False
        """Whether an address of the current request was refused. aiohttp wraps PrivateHost in errors of its own."""

    def check(self, address: str) -> None:
        """Raises PrivateHost if `address` is a private IP address and `checks` is set."""
        if self.checks and is_private(address):
            self.refused = True
            raise PrivateHost(address)


class _Resolver(AbstractResolver):
    """Resolves names with the system's resolver. Refuses a name if any of its addresses is private."""

    def __init__(self, guard: _Guard) -> None:
        self._guard = guard
        self._system = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        # The resolver of the system has no timeout that a caller can set.
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await self._system.resolve(host, port, family)
        # The connector may choose any of the addresses. So the name is refused if one of its addresses is private.
        for result in found:
            self._guard.check(result["host"])
        return found

    async def close(self) -> None:
        await self._system.close()


class _Connector(aiohttp.TCPConnector):
    """Connects only to addresses that the guard accepts.

    The check of the resolver is not enough, because aiohttp does not call the resolver for a host that looks like an IP
    address."""

    def __init__(self, guard: _Guard, tls: ssl.SSLContext) -> None:
        super().__init__(
            resolver=_Resolver(guard),
            # Addresses are not cached, and connections are not reused, so that each request passes the checks. The
            # requests of one session may differ in whether private addresses are allowed, for example after a redirect.
            use_dns_cache=False,
            ssl=tls,
            socket_factory=self._socket,
            force_close=True,
        )
        self._guard = guard

    def _socket(self, info: Any) -> socket.socket:
        family, kind, protocol, _, address = info
        self._guard.check(address[0])
        return socket.socket(family, kind, protocol)

    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = await super().connect(*args, **kwargs)
        try:
            peer = connection.transport.get_extra_info("peername") if connection.transport is not None else None
            self._guard.check(str(peer[0]) if peer else "0.0.0.0")  # noqa: S104 - unknown, so refused
        except PrivateHost:
            connection.close()
            raise
        return connection
