"""Parses the address of the real-time service (STT_URL): path prefix, login, and the spelling of its host. No I/O."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True, slots=True)
class ServiceUrl:
    """The parts of the address with which a client connects."""

    origin: str
    """The address without login and path; a query of STT_URL follows."""
    path: str
    """The path of the Socket.IO endpoint."""
    scheme: str
    host: str
    """In ASCII; an IPv6 address has no brackets."""
    port: int
    authorization: str = field(repr=False)
    """Value of the header Authorization, or empty without a login."""


def check_service_url(text: str) -> str:
    """Return the value of STT_URL in its stored form. Raises ValueError with the reason."""
    text = text.strip()
    if not text:
        return ""
    parts = urlsplit(text)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError("must be an address such as https://cantonese.ai")
    if "@" in f"{parts.path}{parts.query}{parts.fragment}" and "@" not in parts.netloc:
        raise ValueError("special characters of a login must be percent-encoded (@ as %40, / as %2F, # as %23)")
    if any(c.isspace() or not c.isprintable() for c in text):
        raise ValueError("must not contain spaces or control characters")
    if _port(parts) == 0:
        raise ValueError("port 0 cannot be connected to")
    _ascii_host(parts)
    return text.rstrip("/")


def parse_service_url(text: str, api_path: str) -> ServiceUrl:
    """Parse a value that `check_service_url` accepts. `api_path`: path of the Socket.IO endpoint, which is added to the
    path of the address unless the address already ends with it. Raises ValueError for texts that `check_service_url`
    refuses."""
    parts = urlsplit(text)
    host = _ascii_host(parts)
    netloc = f"[{host}]" if ":" in host else host
    netloc += f":{parts.port}" if parts.port else ""
    segments = [segment for segment in parts.path.split("/") if segment]
    path = f"/{'/'.join(segments)}" if segments else ""
    return ServiceUrl(
        origin=f"{parts.scheme}://{netloc}{f'?{parts.query}' if parts.query else ''}",
        path=path if path.endswith(api_path) else f"{path}{api_path}",
        scheme=parts.scheme,
        host=host,
        port=parts.port or _PORTS.get(parts.scheme, 80),
        authorization=_authorization(parts),
    )


def _port(parts: SplitResult) -> int | None:
    """Return the port. Raises ValueError with a text that does not quote the port: if the host is forgotten, a password
    stands in its place."""
    try:
        return parts.port
    except ValueError:
        raise ValueError("the port must be a number up to 65535; a login needs `@` and a host after it") from None


def _authorization(parts: SplitResult) -> str:
    """Return HTTP basic authentication (RFC 7617, UTF-8) with the login of an address."""
    if parts.username is None and parts.password is None:
        return ""
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _ascii_host(parts: SplitResult) -> str:
    """Return the host in ASCII. An international name is encoded by the rules of IDNA. Raises ValueError if the name
    cannot be encoded."""
    # The zone of an IPv6 address is separated by "%25" in a URL (RFC 6874), and by "%" elsewhere.
    host = (parts.hostname or "").replace("%25", "%") if ":" in (parts.hostname or "") else parts.hostname or ""
    if host.isascii():
        return host
    from yarl import URL  # noqa: PLC0415  slow to load, and rarely needed

    try:
        return URL.build(scheme="http", host=host).raw_host or ""
    except ValueError:
        raise ValueError(f"{host[:80]!r} is not a valid international host name") from None
