"""Names of web servers to addresses, for what is asked on behalf of others: no name leads to a private address.

What was checked is what is connected to: the client takes the addresses from here and asks nobody else. (Behind a proxy
of the environment it is the proxy that resolves names.)
"""

from __future__ import annotations

import asyncio
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.storage.allowed import is_private

RESOLVE_S: Final = 10.0


class PrivateHost(OSError):
    """The name leads to a private address."""


class PublicResolver(AbstractResolver):
    """Resolves names as the system does, and gives no private address unless `private` is set."""

    def __init__(self) -> None:
        self.private = False
        self._system = aiohttp.ThreadedResolver()
        self._proxies = {urlsplit(proxy).hostname for proxy in getproxies().values()}

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[ResolveResult]:
        async with asyncio.timeout(RESOLVE_S):
            found = await self._system.resolve(host, port, family)
        if not self.private and host not in self._proxies and any(is_private(result["host"]) for result in found):
            raise PrivateHost(host)
        return found

    async def close(self) -> None:
        await self._system.close()


def leads_to_private(exc: BaseException) -> bool:
    """Whether a connection was not made because its name leads to a private address."""
    return isinstance(exc, PrivateHost) or isinstance(exc.__cause__, PrivateHost)
