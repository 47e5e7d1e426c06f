"""Opens HTTP sessions that use a proxy.

aiohttp itself uses HTTP proxies: it forwards requests for `http`, and opens a tunnel (CONNECT) for `https` and `wss`.
A forwarded request cannot become a websocket at most proxies, so `ws` needs a tunnel as well (RFC 6455, section 4.1).
That tunnel, and SOCKS proxies, are opened by aiohttp-socks.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

import aiohttp
import aiohttp_socks
from python_socks import ProxyType
from yarl import URL

from worker.network.proxy_choice import Route
from worker.proxy_url import ProxyUrl

_CLOSE_S: Final = 0.5


def needs_tunnel(route: Route, scheme: str) -> bool:
    """Whether connections for `scheme` must go through a tunnel of aiohttp-socks."""
    return route.proxy is not None and (route.proxy.is_socks or scheme == "ws")


def session_options(route: Route, scheme: str, tls: ssl.SSLContext) -> dict[str, Any]:
    """Return the options of `aiohttp.ClientSession` for connections over a route: the connector and the proxy."""
    # `limit=0` means no limit. The default of aiohttp is 100 connections, and every session needs one.
    if route.proxy is None:
        return {"connector": aiohttp.TCPConnector(limit=0, ssl=tls)}
    if needs_tunnel(route, scheme):
        return {"connector": tunnel_connector(route.proxy, tls)}
    return {"connector": aiohttp.TCPConnector(limit=0, ssl=tls), **proxy_options(route.proxy)}


def proxy_options(proxy: ProxyUrl) -> dict[str, Any]:
    """Return the option `proxy` of aiohttp for an HTTP proxy, which contains the login."""
    user, password = _as_utf8(proxy.user), _as_utf8(proxy.password)
    url = URL.build(scheme=proxy.scheme, host=proxy.host, port=proxy.port)
    return {"proxy": url.with_user(user).with_password(password) if user or password else url}


def _as_utf8(text: str) -> str:
    """Return a text whose Latin-1 bytes are the UTF-8 bytes of `text`. Both libraries encode logins as Latin-1."""
    return text.encode().decode("latin-1")


class TunnelFailed(aiohttp.ClientConnectionError):
    """A tunnel could not be opened. The cause of this exception is an error of aiohttp-socks, which aiohttp's error
    classes do not include."""


class _TunnelConnector(aiohttp_socks.ProxyConnector):
    async def connect(self, *args: Any, **kwargs: Any) -> Any:
        # When the library is cancelled during a TLS handshake, it waits without a limit for the peer to close the
        # connection. A second cancellation ends that, so the connect runs in a task of its own.
        opening = asyncio.ensure_future(super().connect(*args, **kwargs))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            await _cancel(opening)
            raise
        except (
            aiohttp_socks.ProxyError,
            aiohttp_socks.ProxyConnectionError,
            aiohttp_socks.ProxyTimeoutError,
            OSError,  # from the resolver of socks5://, and from TLS inside the tunnel
        ) as exc:
            raise TunnelFailed(str(exc)) from exc


async def _cancel(opening: asyncio.Future[Any]) -> None:
    """Cancel the opening of a tunnel, and once more if it has not ended after _CLOSE_S."""
    for _ in range(2):
        opening.cancel()
        await asyncio.wait({opening}, timeout=_CLOSE_S)
        if opening.done():
            break
    if opening.done() and not opening.cancelled() and opening.exception() is None:
        opening.result().close()  # it was opened at the moment of the cancellation


def tunnel_connector(proxy: ProxyUrl, tls: ssl.SSLContext, **options: Any) -> aiohttp.TCPConnector:
    """Return a connector whose connections all go through a tunnel of the proxy, without a limit of their number."""
    return _TunnelConnector(
        host=proxy.host,
        port=proxy.port,
        proxy_type=ProxyType.SOCKS5 if proxy.is_socks else ProxyType.HTTP,
        username=_as_utf8(proxy.user) or None,
        password=_as_utf8(proxy.password),
        rdns=proxy.resolves_names,
        proxy_ssl=tls if proxy.scheme == "https" else None,
        ssl=tls,
        limit=0,
        **options,
    )
