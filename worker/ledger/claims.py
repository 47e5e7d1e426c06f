"""Claims: jobs that exist only as long as a client waits for them.

A synchronous request submits its job with a claim, a random text. When the client goes away, the claim is released. The
job is cancelled if no other claim is left and no lasting submission (one without a claim) named the same job. If the
process dies before it releases a claim, the job simply runs to its end.

| key                | type | contains                                           |
|--------------------|------|----------------------------------------------------|
| `job:ID:claims`    | set  | the claims on the job                              |
| `job:ID`, `claimed`| hash | `1` if all submissions of the job so far had a claim |
"""

from __future__ import annotations

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.ledger.records import StateChange, state_changes
from worker.settings import Settings


async def release_claim(connection: RedisConnection, settings: Settings, job_id: str, claim: str) -> StateChange | None:
    """Release a claim. Returns the effect on the job, or None if there is no such job. Raises LedgerUnavailable."""
    keys, ttl_ms = Keys(settings.redis_prefix), int(settings.result_ttl.total_seconds() * 1000)
    answer = await connection.script("release_claim", keys.script_keys(job_id), (job_id, ttl_ms, claim))
    return state_changes([job_id], [answer])[0]


__all__ = ["release_claim"]
