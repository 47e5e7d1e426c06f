"""Waits in Redis for the next commit of a job."""

from __future__ import annotations

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys


async def wait_for_commit(connection: RedisConnection, keys: Keys, job_id: str, after: str, timeout_s: float) -> None:
    """Wait until the job has a commit after the stream id `after`, at most `timeout_s` seconds. Occupies a connection.

    Raises LedgerRefused if the user of STT_REDIS_URL has no right to XREAD."""
    stream, block_ms = keys.commits(job_id), max(1, round(timeout_s * 1000))  # 0 would wait forever
    await connection.call(lambda redis: redis.xread({stream: after}, count=1, block=block_ms))
