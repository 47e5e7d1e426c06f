"""Detects service addresses to which the API key would travel unencrypted over a public network. No I/O."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

# Top-level domains that no public name server answers (RFC 6761, 6762 and 8375, and `.internal` by ICANN), and two that
# home routers use.
_PRIVATE_ENDS: Final = (".localhost", ".local", ".internal", ".lan", ".localdomain", ".home.arpa")


def sends_key_in_clear(url: str) -> bool:
    """Whether `url` is unencrypted and its host is neither this machine nor in a private network.

    A host name is treated as private if it has no dot (a container or a machine of the local network) or a top-level
    domain reserved for private use. Names are not resolved.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".").lower()
    if parts.scheme not in ("http", "ws") or not host:
        return False
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return "." in host and not host.endswith(_PRIVATE_ENDS)
    return not (ip.is_private or ip.is_loopback or ip.is_link_local)


def clear_text_warning(shown: str) -> str:
    """Return the warning for an address that `sends_key_in_clear`. `shown`: the address without a password."""
    return f"the API key and the audio travel to {shown} in clear text; use https:// in STT_URL"
