"""Texts for outages of Redis whose cause a person must fix. The ledger and the queue use the same texts. No I/O."""

from __future__ import annotations

import re
from typing import Final

_REPLICA: Final = re.compile(r"read[- ]only (replica|slave)")
_TOO_MANY_CLIENTS: Final = "max number of clients"


def replica_reason(error: object) -> str | None:
    """Return the reason and the remedy if the error of redis-py is that of a write to a replica, otherwise None."""
    if not _REPLICA.search(str(error)):
        return None
    return IS_REPLICA


def client_limit_reason(error: object) -> str | None:
    """Return the reason and the remedy if the server refused a connection because of its limit, otherwise None."""
    if _TOO_MANY_CLIENTS not in str(error):
        return None
    return (
        "accepts no more connections: its limit `maxclients` is reached; raise it in the configuration of Redis, or "
        "run fewer processes"
    )


IS_REPLICA: Final = (
    "is a read-only replica; set STT_REDIS_URL to its primary, or to the Sentinels that watch it (sentinel://)"
)


__all__ = ["IS_REPLICA", "client_limit_reason", "replica_reason"]
