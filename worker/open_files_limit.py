"""Raises the limit of open files of this process (RLIMIT_NOFILE) and compares it with the number that a worker needs.

Many systems start processes with a soft limit of 1,024 (launchd: 256) although the hard limit is far higher. Only
programs that use select(2) need a limit this low.
"""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows
    resource = None  # type: ignore[assignment]
from typing import Final

FILES_PER_SESSION: Final = 3
"""Open files of one session: the connection, the source, and the reader of the source."""
RESERVED_FILES: Final = 64
"""Open files for Redis, the event loop, libraries, logs, webhooks and the intake."""
MAX_LIMIT: Final = 1 << 18
"""The highest limit that is requested. Some programs close all descriptors up to the limit when they start a child
process, which takes long under a very high limit."""


def raise_limit() -> int | None:
    """Raise the soft limit of open files to the hard limit, but at most to MAX_LIMIT. Returns the new soft limit.
    Returns None if there is no limit, or if the system has no RLIMIT_NOFILE."""
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


def needed_files(sessions: int) -> int:
    """Return the number of open files that a worker with `sessions` sessions needs."""
    return FILES_PER_SESSION * sessions + RESERVED_FILES


def limit_warning(limit: int | None, sessions: int) -> str | None:
    """Return a warning with the remedy if `limit` is too low for `sessions` sessions, else None."""
    if limit is None or limit >= needed_files(sessions):
        return None
    fitting = max(1, (limit - RESERVED_FILES) // FILES_PER_SESSION)
    return (
        f"the limit of open files is {limit}, and {sessions} sessions need about {needed_files(sessions)}: raise it"
        f" (`ulimit -Hn`, LimitNOFILE=, `nofile`), or set STT_WORKER_SESSIONS={fitting}"
    )


__all__ = ["limit_warning", "needed_files", "raise_limit"]
