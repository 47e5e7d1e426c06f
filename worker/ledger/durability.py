"""What in the way a Redis is set up can lose accepted jobs (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def durability_warnings(info: Mapping[str, Any]) -> list[str]:
    """From the answer to INFO. What it does not say (a managed service may hide it) gives no warning."""
    found = []
    if info.get("aof_enabled") == 0:
        found.append(
            "Redis keeps no append-only file: when it restarts, accepted jobs and commits since its last snapshot are "
            "gone; set `appendonly yes`"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found.append(
            f"Redis has the policy {policy}: when its memory is full it deletes jobs instead of refusing new ones; set "
            "`maxmemory-policy noeviction`"
        )
    return found


__all__ = ["durability_warnings"]
