"""Chooses the proxy for a connection from STT_PROXY and the variables HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
No I/O.

- A loopback address never uses a proxy, so the embedded service is always reached directly.
- NO_PROXY lists the other hosts that are reached directly; see `worker.network.no_proxy`.
- STT_PROXY overrides the other variables. `none`, or an empty STT_PROXY, means no proxy.
- `ws` uses HTTP_PROXY and `wss` uses HTTPS_PROXY; ALL_PROXY is used for schemes without a variable of their own.
- A variable in lower case overrides the same variable in capitals, as in curl and Python.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from worker.network.no_proxy import is_loopback, matching_entry
from worker.proxy_url import NO_PROXY_AT_ALL, ProxyUrl, parse_proxy_url
from worker.settings import Settings

_VARIABLES: Final = {"http": "HTTP_PROXY", "ws": "HTTP_PROXY", "https": "HTTPS_PROXY", "wss": "HTTPS_PROXY"}


class ProxyUnusable(ValueError):
    """The address in a variable is not that of a supported proxy. The text names the variable."""


@dataclass(frozen=True, slots=True)
class Route:
    """The way to a host. `variable`: the name of the variable that decides; empty if no variable does. `reason`: why
    the connection is direct."""

    proxy: ProxyUrl | None = None
    variable: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """The route for people, without the login of the proxy."""
        if self.proxy is None:
            return f"direct ({self.reason})"
        login = ", with a login" if self.proxy.user or self.proxy.password else ""
        return f"through the proxy {self.proxy} ({self.variable}{login})"


def choose_route(
    scheme: str, host: str, port: int, settings: Settings, environ: Mapping[str, str] | None = None
) -> Route:
    """Choose the route to a host. `environ`: the variables; by default, the environment of the process. Raises
    ProxyUnusable."""
    environ = os.environ if environ is None else environ
    if is_loopback(host):
        return Route(reason="this machine is never reached through a proxy")
    name, text = _configured(_VARIABLES[scheme], settings, environ)
    if not text:
        return Route(reason="STT_PROXY is none" if name else f"no {_VARIABLES[scheme]} or ALL_PROXY is set")
    listed, exceptions = _variable("NO_PROXY", environ)
    entry = matching_entry(exceptions, host, port)
    if entry:
        return Route(reason=f"{entry} in {listed}")
    try:
        return Route(parse_proxy_url(text), name)
    except ValueError as exc:
        raise ProxyUnusable(f"{name}: {exc}") from None


def _configured(variable: str, settings: Settings, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the value of the variable that sets the proxy, or two empty texts if no variable is set."""
    if settings.proxy:
        return "STT_PROXY", "" if settings.proxy == NO_PROXY_AT_ALL else settings.proxy
    for candidate in (variable, "ALL_PROXY"):
        name, text = _variable(candidate, environ)
        if text:
            return name, text
    return "", ""


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name and the value of a variable in lower case or in capitals."""
    lower = name.lower()
    if lower in environ:
        return lower, environ[lower].strip()
    # A CGI script gets the request header `Proxy` as HTTP_PROXY (httpoxy), so any client could choose the proxy.
    if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return name, ""
    return name, environ.get(name, "").strip()
