"""Reads the last committed text of running jobs, for live displays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

COMMITS: Final = 4
"""Number of commits that are read per job. A commit may be a single word, and a line has room for about twenty."""
MAX_TEXT: Final = 400
"""Maximum characters of the text of a job; the beginning is cut off."""


class RecentText:
    """Reads the newest commits of several jobs with one round trip. Methods raise LedgerUnavailable."""

    def __init__(self, connection: RedisConnection, keys: Keys) -> None:
        self._connection, self._keys = connection, keys

    async def of(self, job_ids: Sequence[str]) -> list[str]:
        """Return the last committed words of each job, empty for a job without commits. Sections of a long file commit
        in any order, so the text is that of the newest commits, not of the last position in the file."""
        if not job_ids:
            return []
        streams = [self._keys.commits(job_id) for job_id in job_ids]
        answers = await self._connection.pipeline(
            lambda p: [p.xrevrange(stream, count=COMMITS) for stream in streams], each=True
        )
        return [_text(answer) for answer in answers]


def _text(answer: Any) -> str:
    """Join the texts in the answer of Redis, which lists the newest commit first. Another program may have written to
    the key, so an entry that is not a commit is skipped."""
    texts: list[str] = []
    if isinstance(answer, list):
        for _, fields in answer:
            try:
                segment = json.loads(fields["segment"])
                texts.append(str(segment["text"]))
            except (KeyError, TypeError, ValueError):
                continue
    return " ".join(reversed(texts))[-MAX_TEXT:]
