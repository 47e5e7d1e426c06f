"""Dead letters: messages that no worker could read or execute.

The Redis stream `dead-letters` has one entry for each of these messages, with the fields:

| field     | meaning                                                                                           |
|-----------|---------------------------------------------------------------------------------------------------|
| `reason`  | why the message was refused, and what to change                                                   |
| `queue`   | the queue from which the message was taken                                                        |
| `job`     | the id of the job in the message; empty if it cannot be read                                      |
| `bytes`   | length of the message                                                                             |
| `sha256`  | sha256 of the whole message, in hexadecimal                                                       |
| `message` | the start of the message, up to MAX_MESSAGE_TEXT characters; bytes that are not UTF-8 are escaped |

The stream has at most MAX_DEAD_LETTERS entries and expires STT_RESULT_TTL after the last one was added.
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
    """Return the fields of the entry for the message `raw`. No I/O."""
    return {
        "reason": _printable(reason, MAX_REASON),
        "queue": _printable(queue, MAX_NAME),
        "job": _printable(job, MAX_NAME),
        "bytes": str(len(raw)),
        "sha256": hashlib.sha256(raw).hexdigest(),
        "message": _printable(raw[:MAX_MESSAGE_TEXT].decode("utf-8", "backslashreplace"), MAX_MESSAGE_TEXT),
    }


def _printable(text: str, max_characters: int) -> str:
    """Return the text with escaped control characters and surrogates (which UTF-8 cannot encode), cut to
    `max_characters`."""
    shown = (char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[:max_characters])
    return "".join(shown)[:max_characters]


def write(pipeline: Any, key: str, fields: dict[str, str], ttl_s: int) -> None:
    """Add to a pipeline of the synchronous or asynchronous redis-py client the commands that record an entry."""
    pipeline.xadd(key, fields, maxlen=MAX_DEAD_LETTERS, approximate=False)
    pipeline.expire(key, ttl_s)


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """The number of dead letters, and the reason of the newest one."""

    count: int
    last_reason: str
    """Why the message of the newest entry was refused; empty without entries."""


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

    async def summary(self) -> DeadLetterSummary:
        count, last = await self._connection.pipeline(
            lambda pipeline: (pipeline.xlen(self._key), pipeline.xrevrange(self._key, count=1))
        )
        return DeadLetterSummary(count, last[0][1].get("reason", "") if last else "")


__all__ = ["KEY", "MAX_DEAD_LETTERS", "DeadLetterSummary", "DeadLetters", "dead_letter", "write"]
