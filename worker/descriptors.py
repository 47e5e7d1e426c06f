"""The limit of open files of this process (RLIMIT_NOFILE): raised at the start, and compared with what is needed.

Many systems start processes with 1,024 (systemd, launchd: 256) although the hard limit allows far more; only programs
that use select(2) need the low one.
"""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]
from typing import Final

PER_SESSION: Final = 3
"""The connection, the source and its reader."""
RESERVED: Final = 64
"""For Redis, the event loop, libraries, logs, webhooks and the intake."""
MAX_LIMIT: Final = 1 << 18
"""More is not asked for: some programs close every number up to the limit when they start another program."""


def raise_limit() -> int | None:
    """Raise the soft limit to the hard one and return it; None for no limit, or where there is no such thing."""
    if resource is None:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited:
        return None
    wanted = MAX_LIMIT if hard == unlimited else min(hard, MAX_LIMIT)
    if soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS refuses more than kern.maxfilesperproc
            return soft
    return max(soft, wanted)


def needed(sessions: int) -> int:
    """Open files of a worker with so many sessions."""
    return PER_SESSION * sessions + RESERVED


def shortfall(limit: int | None, sessions: int) -> str | None:
    """What a person should know and do when the limit is too low for so many sessions; None when it is not."""
    if limit is None or limit >= needed(sessions):
        return None
    fitting = max(1, (limit - RESERVED) // PER_SESSION)
    return (
        f"the limit of open files is {limit}, and {sessions} sessions need about {needed(sessions)}: raise it"
        f" (`ulimit -Hn`, LimitNOFILE=, `nofile`), or set STT_SESSIONS={fitting}"
    )


__all__ = ["needed", "raise_limit", "shortfall"]
