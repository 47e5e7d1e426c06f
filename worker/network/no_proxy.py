"""Matches a host against NO_PROXY, the list of hosts that are reached without a proxy. No I/O.

The form of an entry is not standardized. This module follows curl and Python where they agree, and accepts CIDR
networks and ports like Go: `*`, `example.com` and `.example.com` (each with all subdomains), `*.example.com`,
`host:8443`, `10.0.0.0/8`, `192.0.2.7`, `[2001:db8::1]:8443`. Names are not resolved, so a network matches only
addresses that are written as such.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

_PORT: Final = re.compile(r"^(\[[^\]]*\]|[^:]*):([0-9]{1,5})$")


def matching_entry(no_proxy: str, host: str, port: int) -> str:
    """Return the first entry of NO_PROXY that covers the host, or "" if none does."""
    name = _plain(host)
    address = _address(name)
    for entry in re.split(r"[\s,]+", no_proxy):
        if entry and _covers(entry, name, address, port):
            return entry
    return ""


def _covers(entry: str, name: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
    found = _PORT.match(entry)
    if found is not None:
        if int(found[2]) != port:
            return False
        entry = found[1]
    entry = _plain(entry)
    # Domain rules do not apply to an address: `1` must not match 10.0.0.1.
    if address is not None:
        if "/" in entry:
            return _contains(entry, address)
        return entry == "*" or _address(entry) == address or ("*" in entry and fnmatchcase(name, entry))
    domain = entry.removeprefix("*").lstrip(".") if entry.startswith("*.") else entry.lstrip(".")
    if "*" in domain:
        return fnmatchcase(name, domain)
    return bool(domain) and (name == domain or name.endswith(f".{domain}"))


def _contains(network: str, address: IPv4Address | IPv6Address) -> bool:
    try:
        return address in ip_network(network, strict=False)
    except ValueError:
        return False


def _plain(host: str) -> str:
    """Return a host in lower case, without brackets and final dot, in the ASCII form of an international name."""
    host = host.strip("[]").rstrip(".").lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return `host` as an IP address, or None if it is a name. An IPv4-mapped IPv6 address becomes an IPv4 address."""
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine: `localhost`, a name below it, or a loopback or unspecified address."""
    name = _plain(host)
    address = _address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
