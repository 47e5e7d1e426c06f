"""Replaces the stored transcript of a job by a corrected one, if no other client has replaced it in the meantime."""

from __future__ import annotations

import hashlib
from typing import Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.settings import Settings

REPLACED: Final = 1
CHANGED: Final = 0
"""Another client has replaced the transcript."""
MISSING: Final = -1
"""The transcript has expired, or the job runs again."""


async def replace_transcript(
    connection: RedisConnection, settings: Settings, job_id: str, before: str, document: str
) -> int:
    """Store `document` as the transcript of a job. `before`: the stored JSON that `document` was made from.

    The transcript expires at the same time as before. Returns REPLACED, CHANGED or MISSING. Raises
    LedgerUnavailable."""
    keys = Keys(settings.redis_prefix).script_keys(job_id)
    # Redis compares hashes, so that the old transcript is not sent again. The hash is not used for security.
    digest = hashlib.sha1(before.encode(), usedforsecurity=False).hexdigest()
    return int(await connection.script("revise_transcript", keys, (digest, document)))


__all__ = ["CHANGED", "MISSING", "REPLACED", "replace_transcript"]
