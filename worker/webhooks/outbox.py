"""Webhooks that wait to be delivered: the ledger's outbox.

The end of a job and its message are written in one step (`lua/conclude.lua`), so neither is there without
the other. Any worker takes a message, and has it for CLAIM_S; one whose worker died is taken by another. A receiver may
therefore get a message twice, with the same id.

| key                | type | holds                                                                        |
|--------------------|------|------------------------------------------------------------------------------|
| `webhooks`         | zset | messages, scored by when the next attempt is due, in ms                      |
| `webhooks:dead`    | zset | undeliverable messages (dead letters), scored by when they failed, in ms     |
| `webhook:MESSAGE`  | hash | `url`, `attempts`, `reason` of the last one, and what ended: see `_body`     |
| `webhooks:batches` | zset | batches whose end is to be told, scored by when that was asked for, in ms    |
| `batch:ID:webhook` | hash | `url`, and as `witness` a job of it that is not at its end                   |
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, Final

from worker.errors import BadJob, LedgerRefused
from worker.ledger import schema
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.settings import Settings
from worker.storage.address import Address, parse, show

_LOG: Final = logging.getLogger(__name__)
CLAIM_S: Final = 120.0
"""Longer than one attempt can take."""
DEAD_LETTER_TTL: Final = timedelta(days=30)
"""How long a dead letter is stored."""
BATCHES_PER_CHECK: Final = 200
"""Batches looked at in one go."""
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Message:
    """One webhook in the outbox."""

    id: str
    url: Address | None
    """None if it cannot be used; `reason` says why."""
    to: str
    """The receiver for display, without secrets."""
    attempts: int
    subject: str
    """The id of the job or batch."""
    body: bytes
    """JSON; the same at every attempt. Empty if the message in Redis cannot be read; `reason` says why."""
    due_at: float
    """Seconds since 1970, on the Redis server's clock, of the next attempt, or of the last one of a dead letter."""
    reason: str
    """Why the last attempt failed."""
    dead: bool


class Outbox:
    """All methods raise LedgerUnavailable when Redis does not answer; those that read messages raise LedgerNewer where
    only a newer version can read them. Belongs to one event loop."""

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)
        self._ttl_ms = int(max(DEAD_LETTER_TTL, settings.result_ttl).total_seconds() * 1000)

    async def claim(self, count: int) -> list[Message]:
        """Messages that are due, the longest waiting first; nobody else gets them for CLAIM_S."""
        found = await self._step("take", count, int(CLAIM_S * 1000))
        return [_message(item[0], _pairs(item[2:]), attempts=int(item[1]), due_at=0.0) for item in found]

    async def mark_delivered(self, message: Message) -> bool:
        """It was delivered. False when another one has it by now."""
        return bool(await self._step("done", message.id, message.attempts))

    async def retry_later(self, message: Message, delay_s: float, reason: str) -> bool:
        """It was not, and is due again in `delay_s` seconds."""
        return bool(await self._step("later", message.id, message.attempts, int(delay_s * 1000), reason))

    async def dead_letter(self, message: Message, reason: str) -> bool:
        """It will not be tried again, unless somebody asks for it."""
        return bool(await self._step("dead", message.id, message.attempts, self._ttl_ms, reason))

    async def requeue(self, message_ids: Sequence[str]) -> list[str]:
        """Send dead letters again; returns the ids of those that existed."""
        return [one for one in message_ids if await self._step("again", one, self._ttl_ms)]

    async def waiting(self) -> int:
        """How many messages are to be delivered."""
        return int(await self._connection.call(lambda redis: redis.zcard(self._keys["webhooks"])))

    async def list_messages(self, *, dead: bool, limit: int = 1000) -> list[Message]:
        """The messages that wait, or the dead letters, the oldest first."""
        key = self._keys["webhooks:dead" if dead else "webhooks"]
        found = await schema.read(self._connection, self._keys)
        if found is not None and not found.readable:
            raise schema.newer_error(str(found.reader))
        scored = await self._connection.call(lambda redis: redis.zrange(key, 0, limit - 1, withscores=True))

        def read(pipeline: Any) -> None:
            for message_id, _ in scored:
                pipeline.hgetall(self._keys[f"webhook:{message_id}"])

        records = await self._connection.pipeline(read, each=True) if scored else []
        return [
            _message(message_id, fields, attempts=_count(fields.get("attempts")), due_at=due / 1000, dead=dead)
            for (message_id, due), fields in zip(scored, records, strict=True)
            if fields and not isinstance(fields, Exception)
        ]

    # -- batches -----------------------------------------------------------------------------------------------------

    async def watch_batch(self, batch_id: str, url: Address) -> None:
        """Tell `url` when no job of the batch waits or runs any more. Ask for it when all its jobs are submitted."""
        hook, watched = self._keys[f"batch:{batch_id}:webhook"], self._keys["webhooks:batches"]
        await self._connection.pipeline(
            lambda p: (
                p.hset(hook, mapping={"url": url.text}),
                p.pexpire(hook, self._ttl_ms),
                p.zadd(watched, {batch_id: time.time() * 1000}),
                p.pexpire(watched, self._ttl_ms),
            )
        )

    async def check_batches(self) -> int:
        """Put the messages of batches that came to their end into the outbox; how many."""
        watched = self._keys["webhooks:batches"]
        batches = await self._connection.call(lambda redis: redis.zrange(watched, 0, BATCHES_PER_CHECK - 1))
        told = 0
        for batch_id in batches:
            keys = (self._keys[f"batch:{batch_id}:webhook"], self._keys.batch(batch_id), watched)
            facts = ("batch", batch_id, self._keys.job(""), f"msg_{token_hex(20)}", self._ttl_ms)
            try:
                told += await self._step(*facts, keys=keys)
            except LedgerRefused as exc:  # a key of another type must not stop the webhooks of all others
                _LOG.error("the webhook of the batch %s is dropped: %s", batch_id, exc)
                await self._connection.call(lambda redis, batch_id=batch_id: redis.zrem(watched, batch_id))  # type: ignore[misc]
        return told

    async def _step(self, step: str, *args: str | int, keys: Sequence[str] = ()) -> Any:
        shared = (self._keys["webhooks"], self._keys["webhooks:dead"])
        wanted = (step, self._keys["webhook:"], *args, schema.VERSION)
        answer = await self._connection.script("webhooks", (*shared, *keys), wanted)
        if isinstance(answer, list) and answer[:1] == ["newer"]:
            raise schema.newer_error(answer[1])
        return answer


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _message(message_id: str, fields: dict[str, str], *, attempts: int, due_at: float, dead: bool = False) -> Message:
    """A message as stored in Redis. An unreadable message has no body, so that it does not stop the others."""
    reason, body = fields.get("reason", ""), b""
    url: Address | None = None
    try:
        url = parse(fields.get("url", ""))
    except BadJob as exc:
        reason = str(exc)
    try:
        body = _body(fields)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, RecursionError, OSError) as exc:
        reason = f"the message in Redis cannot be read ({type(exc).__name__}: {exc})"[:300]
    return Message(
        id=message_id,
        url=url,
        to=show(fields.get("url", "")),
        attempts=attempts,
        subject=fields.get("job") or fields.get("batch") or "",
        body=body,
        due_at=due_at,
        reason=reason,
        dead=dead,
    )


def _count(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else 0


def _body(fields: dict[str, str]) -> bytes:
    """`type`, `timestamp` and `data`, as Standard Webhooks recommends: what ended and how, not the transcript."""
    if fields["kind"] == "batch":
        kind, ended = "batch.ended", fields["ended"]
        counts = json.loads(fields["counts"])
        data: dict[str, Any] = {"id": fields["batch"], "total": int(fields["total"]), "counts": counts or {}}
    else:
        state, ended = fields["job_state"], fields["job_ended"]
        kind = f"job.{state}"
        outputs = fields["job_outputs"]
        data = {
            "id": fields["job"],
            "state": state,
            "source": show(fields["source"]),
            "batch": fields["job_batch"] or None,
            "duration_s": float(fields["job_duration_s"] or 0),
            "committed_s": float(fields["job_committed_s"] or 0),
            "commits": int(fields["job_commits"] or 0),
            "attempts": int(fields["job_attempts"] or 0),
            # Null if the job has no transcript, and in messages of versions without quality.
            "quality": json.loads(fields.get("job_quality") or "null"),
            # Left out when there are more of them than a receiver should have to take.
            "outputs": [show(path) for path in json.loads(outputs)] if outputs else [],
            "error_code": fields["job_error_code"] or None,
            "error": fields["job_error"] or None,
        }
    at = datetime.fromtimestamp(int(ended) / 1000, UTC).isoformat(timespec="milliseconds")
    document = {"schema_version": SCHEMA_VERSION, "type": kind, "timestamp": at, "data": data}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


__all__ = ["CLAIM_S", "Message", "Outbox"]
