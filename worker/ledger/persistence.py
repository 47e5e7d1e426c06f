"""Rewrites the files of Redis on disk, so that they contain the present data only."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from worker.errors import LedgerRefused, LedgerUnavailable
from worker.ledger.connection import RedisConnection

POLL_S: Final = 0.2
TIMEOUT_S: Final = 900.0
"""Maximum seconds for one rewrite."""


async def rewrite_files(connection: RedisConnection) -> None:
    """Rewrite the append-only file, if Redis has one, and the snapshot `dump.rdb`.

    Until then both contain the values of deleted keys. Raises LedgerUnavailable, and LedgerRefused if the user of
    STT_REDIS_URL does not have the right."""
    try:
        info = await _info(connection)
        if info.get("aof_enabled"):
            await connection.call(lambda redis: redis.bgrewriteaof())
            await _until_done(connection, "aof_rewrite_in_progress", "aof_rewrite_scheduled")
        await connection.call(lambda redis: redis.bgsave())
        info = await _until_done(connection, "rdb_bgsave_in_progress")
    except LedgerRefused as exc:
        raise LedgerRefused(
            f"the jobs are deleted, but the user of STT_REDIS_URL may not rewrite the files of Redis ({exc.__cause__});"
            " run `redis-cli BGREWRITEAOF` and `redis-cli BGSAVE` as an administrator"
        ) from None
    if "err" in (info.get("aof_last_bgrewrite_status"), info.get("rdb_last_bgsave_status")):
        raise LedgerUnavailable("Redis could not rewrite its files; see its log, and try again")


async def _until_done(connection: RedisConnection, *flags: str) -> dict[str, Any]:
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                info = await _info(connection)
                if not any(info.get(flag) for flag in flags):
                    return info
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise LedgerUnavailable(
            f"Redis still rewrites its files after {TIMEOUT_S:g} s; they contain deleted values until it has finished; "
            "check its log and its free disk space"
        ) from None


async def _info(connection: RedisConnection) -> dict[str, Any]:
    return dict(await connection.call(lambda redis: redis.info("persistence")))


__all__ = ["rewrite_files"]
