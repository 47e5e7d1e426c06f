"""Parses the address of a proxy, as HTTPS_PROXY and STT_PROXY contain it. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
"""The supported schemes, each with the port of an address without one."""
NO_PROXY_AT_ALL: Final = "none"
"""Value of STT_PROXY for connections without a proxy. An empty STT_PROXY in the environment is read as this value."""
AUTOMATIC: Final = "auto"
"""Value of STT_PROXY for the proxies of HTTP_PROXY and so on, which is the default. It is stored as an empty text."""
MAX_SOCKS_LOGIN_BYTES: Final = 255
_SUPPORTED: Final = ", ".join(f"{scheme}://" for scheme in DEFAULT_PORTS)


@dataclass(frozen=True, slots=True)
class ProxyUrl:
    """The address of a proxy. `str()` and `repr()` contain no login."""

    scheme: str
    host: str
    """An IPv6 address has no brackets."""
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def __str__(self) -> str:
        """Return the address without its login."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")

    @property
    def resolves_names(self) -> bool:
        """Whether the proxy, and not this machine, resolves the names of hosts."""
        return self.scheme != "socks5"


def parse_proxy_url(text: str) -> ProxyUrl:
    """Parse the address of a proxy. An address without a scheme is one of an HTTP proxy.

    Raises ValueError with the reason, which contains no login."""
    text = text.strip()
    scheme, slashes, _ = text.partition("://")
    scheme = scheme.lower() if slashes else "http"
    if scheme not in DEFAULT_PORTS:
        raise ValueError(f"the proxy scheme {scheme[:20]}:// is not supported; use one of {_SUPPORTED}")
    try:
        parts = urlsplit(text if slashes else f"http://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    # A special character in the password ends the host too early, which leaves the rest of the login in the path.
    if not host or "@" in f"{parts.path}{parts.query}{parts.fragment}" or any(c.isspace() for c in host):
        raise ValueError(
            "the address of the proxy cannot be read; write it like http://user:password@proxy.example:3128, with"
            " special characters of the login percent-encoded (@ as %40, / as %2F, # as %23)"
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme.startswith("socks") and not _fits_socks(user, password):
        raise ValueError(
            f"the login of a SOCKS proxy has a user and a password of at most {MAX_SOCKS_LOGIN_BYTES} ASCII characters"
        )
    return ProxyUrl(scheme, host.rstrip("."), port or DEFAULT_PORTS[scheme], user, password)


def check_proxy_setting(text: str) -> str:
    """Return the value of STT_PROXY in its stored form. Raises ValueError with the reason."""
    text = text.strip()
    if text.lower() in (NO_PROXY_AT_ALL, AUTOMATIC):
        return NO_PROXY_AT_ALL if text.lower() == NO_PROXY_AT_ALL else ""
    if text:
        parse_proxy_url(text)
    return text


def disabled_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the override of the settings for an empty STT_PROXY. Other empty variables mean the default, this one
    means no proxy."""
    empty = not environ.get("STT_PROXY", "-").strip() and not environ.get("STT_PROXY_FILE")
    return {"proxy": NO_PROXY_AT_ALL} if empty else {}


def _fits_socks(user: str, password: str) -> bool:
    complete = bool(user) == bool(password)
    return complete and all(text.isascii() and len(text) <= MAX_SOCKS_LOGIN_BYTES for text in (user, password))
