"""Recognizes releases of Redis and Valkey with known vulnerabilities. No I/O.

The releases of July 2026 fix vulnerabilities by which an authenticated client can execute code on the server. So did
those of May 2026 and of October 2025 (CVE-2025-49844, in Lua). Source: the release notes of both projects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_PATCHED: Final = {
    "Redis": ((6, 2, 23), (7, 2, 15), (7, 4, 10), (8, 2, 8), (8, 4, 5), (8, 6, 5), (8, 8, 1)),
    "Valkey": ((7, 2, 14), (8, 0, 10), (8, 1, 9), (9, 0, 5), (9, 1, 1)),
}
"""The first patched release of each maintained series, such as 8.4.5 for the series 8.4."""


def unpatched(info: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return (server and version, patched releases to use) if the server has known vulnerabilities, else None.

    `info`: the reply to the Redis command INFO. A version is treated as vulnerable if its series is no longer
    maintained. It is treated as safe if its series is newer than all series in _PATCHED, or if the version cannot be
    read.
    """
    name = "Valkey" if info.get("valkey_version") else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if len(found) < 3:
        return None
    patched = _PATCHED[name]
    same = next((release for release in patched if release[:2] == found[:2]), None)
    if found >= (same if same is not None else patched[-1]):
        return None
    newer = [release for release in patched if release >= found]
    return f"{name} {version}", ", ".join(".".join(map(str, release)) for release in newer)


__all__ = ["unpatched"]
