"""Finds Redis settings that can lose accepted jobs. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def durability_warnings(info: Mapping[str, Any]) -> list[str]:
    """Return a warning for each risky setting in `info`, the reply of Redis to INFO.

    A missing field gives no warning, because managed Redis services hide some fields."""
    found = []
    if info.get("aof_enabled") == 0:
        found.append(
            "Redis keeps no append-only file: when it restarts, accepted jobs and commits since its last snapshot are "
            "lost; set `appendonly yes`"
        )
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found.append(
            f"Redis has the policy {policy}: when its memory is full it deletes jobs instead of refusing new ones; set "
            "`maxmemory-policy noeviction`"
        )
    return found


__all__ = ["durability_warnings"]
