"""Checks hosts of web addresses, spelled exactly as the HTTP library uses them for the connection. No I/O.

Some parsers read `http://１２７.0.0.1`, `http://①②⑦.0.0.1` and `http://127。0。0。1` as host names, others as the
address 127.0.0.1 of this machine. If one parser checked a URL and another connected to it, private addresses could pass
the check. So a URL is parsed once, by the URL class of the HTTP library (yarl), and the result is both checked and
requested. Spellings of IPv4 addresses that only some programs accept (`0x7f.1`, `0177.0.0.1`, `127.1`, `2130706433`)
are refused.

This module has its own table of private networks, since that of the standard library differs between Python versions.
Sources, as of October 2025: the special-purpose address registries of IANA
(https://www.iana.org/assignments/iana-ipv4-special-registry and …/iana-ipv6-special-registry), RFC 3879 (fec0::/10),
RFC 4291 (only 2000::/3 is global unicast), RFC 6052 and RFC 8215 (NAT64), RFC 7526 (6to4), and for 168.63.129.16
https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from yarl import URL

PRIVATE_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24"),
        *("203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # the host agent of an Azure machine, which serves its certificates
    )
)
GLOBAL_IPV6: Final = IPv6Network("2000::/3")
"""The IPv6 addresses of the public internet, except those in PRIVATE_IPV6."""
PRIVATE_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo (2001::/32), benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4, which embeds any IPv4 address
        "3fff::/20",
    )
)
_WITH_IPV4: Final = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
"""IPv6 networks whose addresses contain an IPv4 address (IPv4-mapped, NAT64). The IPv4 address is checked instead."""
PRIVATE_NAMES: Final = frozenset({
    *("localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"),
    *("metadata", "metadata.goog", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"),
})  # fmt: skip
MAX_HOST_CHARACTERS: Final = 253
_LABEL: Final = re.compile(r"[a-z0-9_-]{1,63}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


def request_url(text: str) -> URL:
    """Parse an http(s) address into the URL to request, with the host as `canonical_host` returns it.

    An ASCII path and query are not changed, because another percent-encoding may break a signature. Raises ValueError
    with the reason.
    """
    # yarl is imported only here: most producers use no web address and should start quickly.
    from yarl import URL  # noqa: PLC0415

    parts = urlsplit(text)
    if "@" in parts.netloc:
        raise ValueError("it contains a user name or a password")
    try:
        url = URL(text)
        host, _ = url.raw_host, url.host
    except ValueError as exc:
        raise ValueError(f"its host or port cannot be read: {_first_line(exc)}") from None
    if not host:
        raise ValueError("it names no host")
    if parts.port == 0:  # raises ValueError for digits that are not ASCII
        raise ValueError("port 0 cannot be connected to")
    host = in_url(canonical_host(host))
    plain = f"{parts.path}{parts.query}".isascii()
    return URL.build(
        scheme=url.scheme,
        host=host,
        port=url.explicit_port,
        path=(parts.path if plain else url.raw_path) or "/",
        query_string=parts.query if plain else url.raw_query_string,
        encoded=True,
    )


def canonical_host(host: str) -> str:
    """Return a host in an unambiguous ASCII spelling: an IP address in its usual notation, or a lower-case name without
    a trailing dot. Raises ValueError with the reason."""
    if ":" in host:
        if "%" in host:
            raise ValueError("an IPv6 address with a zone (%) is valid in one local network only")
        return str(IPv6Address(host))
    name = host.lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MAX_HOST_CHARACTERS or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{name[:80]!r} is not a host name")
    if not _NUMBER.fullmatch(labels[-1]):
        return name
    try:
        return str(IPv4Address(name))
    except ValueError:
        raise ValueError(
            f"{name!r} is an IPv4 address in a form that programs read differently; write it like 192.0.2.1"
        ) from None


def in_url(host: str) -> str:
    """Return a host as it is written in a URL: an IPv6 address in brackets, any other host unchanged."""
    return f"[{host}]" if ":" in host else host


def is_private(host: str) -> bool:
    """Whether `host` is an IP address outside the public internet. False for names."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    # These addresses are connected to the IPv4 address in their last 32 bits.
    if isinstance(ip, IPv6Address) and any(ip in network for network in _WITH_IPV4):
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    if isinstance(ip, IPv6Address):
        ours = ip not in GLOBAL_IPV6 or any(ip in network for network in PRIVATE_IPV6)
    else:
        ours = any(ip in network for network in PRIVATE_IPV4)
    # An address is private if one of the two tables contains it. The table of this module does not depend on the
    # version of Python. The table of a newer Python may contain networks that this module lacks.
    return ours or not ip.is_global


def is_private_host(host: str) -> bool:
    """Whether `host` is a private IP address, or a name that always stands for one, such as `localhost`."""
    return is_private(host) or host in PRIVATE_NAMES or host.endswith(".localhost")


def _first_line(exc: ValueError) -> str:
    return (str(exc).splitlines() or [""])[0][:120]
