"""HTTP requests to addresses from untrusted jobs, without access to private addresses.

The addresses of a host are checked after its name is resolved and again before a socket is created; the peer of the
connection is checked before the request is sent. So a name that resolves to another address a moment later (DNS
rebinding) gains nothing.

A proxy of the environment (`HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY`) resolves names itself. Then only the name can be
checked, so callers require a list of allowed hosts.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.storage.address import Address
from worker.storage.web_hosts import is_private

RESOLVE_TIMEOUT_S: Final = 10.0


class PrivateHost(OSError):
    """The host has a private address."""


class GuardedSession:
    """An HTTP session for requests to untrusted addresses, one request at a time."""

    def __init__(self, session: aiohttp.ClientSession, guard: _Guard) -> None:
        self._session = session
        self._guard = guard

    async def request(
        self, method: str, address: Address, *, may_be_private: bool, headers: dict[str, str], data: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """Send one request; redirects are not followed. Raises PrivateHost, ValueError for an address that is not a
        web address, and the errors of aiohttp."""
        url = address.http_url
        if url is None:
            raise ValueError(f"{address}: is not a web address")
        proxy = await asyncio.to_thread(proxy_of, address)
        self._guard.checks = proxy is None and not may_be_private
        self._guard.refused = False
        try:
            return await self._session.request(
                method, url, headers=headers, data=data, proxy=proxy, allow_redirects=False
            )
        except (aiohttp.ClientError, OSError) as exc:
            if self._guard.refused:
                raise PrivateHost(address.host) from exc
            raise


@asynccontextmanager
async def guarded_session(
    timeout: aiohttp.ClientTimeout, tls: ssl.SSLContext | None = None
) -> AsyncIterator[GuardedSession]:
    """A session without cookies and stored passwords. `tls`: trusted certificates, by default those of the system."""
    guard = _Guard()
    async with aiohttp.ClientSession(
        connector=_Connector(guard, tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=timeout,
        auto_decompress=False,
    ) as session:
        yield GuardedSession(session, guard)


def proxy_of(address: Address) -> str | None:
    """The proxy of the environment for a web address, or None for a direct connection."""
    return None if proxy_bypass(address.host) else getproxies().get(address.scheme)


class _Guard:
    """Checks IP addresses. The resolver, the connector and the session share one guard."""

    def __init__(self) -> None:
        self.checks = True
        self.refused = False

    def check(self, address: str) -> None:
        if self.checks and is_private(address):
            self.refused = True
            raise PrivateHost(address)


class _Resolver(AbstractResolver):
    """Resolves names with the system's resolver. Refuses a name if any of its addresses is private."""

    def __init__(self, guard: _Guard) -> None:
        self._guard = guard
        self._system = aiohttp.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await self._system.resolve(host, port, family)
        for result in found:
            self._guard.check(result["host"])
        return found

    async def close(self) -> None:
        await self._system.close()


class _Connector(aiohttp.TCPConnector):
    """Connects only to addresses that the guard accepts.

    The check is needed besides that of the resolver: aiohttp does not resolve hosts that look like IP addresses."""

    def __init__(self, guard: _Guard, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            resolver=_Resolver(guard),
            use_dns_cache=False,
            ssl=tls if tls is not None else True,
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
