"""Decides whether to accept a request of a browser, by the headers `Host`, `Origin` and `Sec-Fetch-Site`. No I/O.

A page of another site can make a browser send requests to a server on this machine, and with DNS rebinding the browser
even takes such a server for the page's own one. A page cannot set the headers that are checked here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HOST: Final = re.compile(r"(\[(?P<address>[0-9a-f:.]+)\]|(?P<name>[^:\[\]@/\s]+))(:\d*)?")
_PAGES: Final = frozenset({"/", "/docs"})
"""Paths to which a page of another site may link."""


@dataclass(frozen=True, slots=True)
class OriginPolicy:
    """`hosts`: further names of this server, in lower case. `origins`: origins of STT_HTTP_CORS_ORIGINS."""

    hosts: Collection[str] = ()
    origins: Collection[str] = ()

    def refused_host(self, host: str) -> str | None:
        """Return why the header `Host` is refused, or None. A name that an attacker's DNS server resolves is refused;
        an IP address cannot be rebound."""
        name = _name(host)
        if name in self.hosts or name == "localhost" or name.endswith(".localhost") or _is_address(name):
            return None
        return f"the host name {host[:80]!r} is not known; add it to STT_HTTP_HOSTS if it belongs to this server"

    def refused_origin(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """Return why a request of a browser is refused because of the page that sent it, or None."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and origin in self.origins:
            return None
        if origin is not None and not _same(origin, headers.get("host", "")):
            return "a page of another site sent this request"
        if site in (None, "same-origin", "none"):
            return None
        navigates = method in SAFE_METHODS and headers.get("sec-fetch-mode") == "navigate"
        if navigates and path in _PAGES and headers.get("sec-fetch-dest") == "document":
            return None
        return "a page of another site sent this request"


def hosts_of(setting: str) -> frozenset[str]:
    """Parse STT_HTTP_HOSTS."""
    return frozenset(name for part in setting.split(",") if (name := _name(part.strip())))


def _same(origin: str, host: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    # The scheme is not compared: behind a proxy that ends TLS, this server itself does not know it.
    return parts.scheme in ("http", "https") and bool(host) and parts.netloc.lower() == host.lower()


def _name(host: str) -> str:
    """Return the name in a `Host` header, in lower case and without port and final dot."""
    found = _HOST.fullmatch(host.strip().lower())
    return "" if found is None else found["address"] or found["name"].rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


__all__ = ["SAFE_METHODS", "OriginPolicy", "hosts_of"]
