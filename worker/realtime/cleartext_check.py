"""Detects addresses of the service that send the key over a network in clear text (pure)."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

_PRIVATE_ENDS: Final = (".localhost", ".local", ".internal", ".lan", ".localdomain", ".home.arpa")


def sends_key_in_clear(url: str) -> bool:
    """Whether `url` is unencrypted and its host is neither this machine nor in a private network.

    A name counts as private when it has no dot (a container, a machine of the network) or a top-level domain that is
    reserved for private use; names are not resolved.
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
    """The warning for such an address; `shown` is the address without a password."""
    return f"the API key and the audio travel to {shown} in clear text; use https:// in STT_URL"
