"""Messages that no worker could read or execute, in the stream `dead-letters` with the reason.

| field     | meaning                                                                       |
|-----------|-------------------------------------------------------------------------------|
| `reason`  | why the message was refused, and what to change                               |
| `queue`   | the queue it was in                                                           |
| `job`     | the job it named, if readable                                                 |
| `bytes`   | its length                                                                    |
| `sha256`  | of the whole message                                                          |
| `message` | its first MAX_MESSAGE_TEXT characters; other bytes are escaped                |

The stream has at most MAX_DEAD_LETTERS entries and expires STT_RESULT_TTL after the last one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys

MAX_DEAD_LETTERS: Final = 10_000
MAX_MESSAGE_TEXT: Final = 1024
MAX_REASON: Final = 500
MAX_NAME: Final = 128
KEY: Final = "dead-letters"


def dead_letter(raw: bytes, queue: str, reason: str, job: str = "") -> dict[str, str]:
    """The fields of one entry (pure)."""
    return {
        "reason": _printable(reason, MAX_REASON),
        "queue": _printable(queue, MAX_NAME),
        "job": _printable(job, MAX_NAME),
        "bytes": str(len(raw)),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "message": _printable(raw[:MAX_MESSAGE_TEXT].decode("utf-8", "backslashreplace"), MAX_MESSAGE_TEXT),
    }


def _printable(text: str, max_characters: int) -> str:
    """The text with escaped control characters and surrogates, which UTF-8 cannot encode."""
    shown = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:max_characters])
    return "".join(shown)[:max_characters]


def write(pipeline: Any, key: str, fields: dict[str, str], ttl_s: int) -> None:
    """Add the commands that record an entry to a pipeline, of the synchronous or the asynchronous client."""
    pipeline.xadd(key, fields, maxlen=MAX_DEAD_LETTERS, approximate=False)
    pipeline.expire(key, ttl_s)


@dataclass(frozen=True, slots=True)
class Summary:
    """The number of dead letters, and the reason of the last one."""

    count: int
    last_reason: str
    """Reason of the last entry; empty if there is none."""


class DeadLetters:
    """Writes and counts dead letters. Raises LedgerUnavailable when Redis does not answer.

    Belongs to the event loop of its connection."""

    def __init__(self, connection: RedisConnection, keys: Keys, result_ttl: timedelta) -> None:
        self._connection = connection
        self._key = keys[KEY]
        self._ttl_s = int(result_ttl.total_seconds())

    async def add(self, raw: bytes, queue: str, reason: str, job: str = "") -> None:
        fields = dead_letter(raw, queue, reason, job)
        await self._connection.pipeline(lambda pipeline: write(pipeline, self._key, fields, self._ttl_s))

    async def summary(self) -> Summary:
        count, last = await self._connection.pipeline(
            lambda pipeline: (pipeline.xlen(self._key), pipeline.xrevrange(self._key, count=1))
        )
        return Summary(count, last[0][1].get("reason", "") if last else "")


__all__ = ["KEY", "MAX_DEAD_LETTERS", "DeadLetters", "Summary", "dead_letter", "write"]
