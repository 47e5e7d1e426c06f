"""The outbox in Redis: webhooks that wait for delivery.

One atomic step writes the end of a job and adds its message to the outbox (`worker/ledger/lua/end_job.lua`). So either
both are written, or none of them. A worker claims a message for CLAIM_S. If the worker dies, another worker can claim
the message after that time. So a receiver may get a message twice; both messages have the same id.

| key                | type | contains                                                                     |
|--------------------|------|------------------------------------------------------------------------------|
| `webhooks`         | zset | messages, scored by the time of their next attempt in ms                     |
| `webhooks:dead`    | zset | undeliverable messages (dead letters), scored by the time of failure in ms   |
| `webhook:MESSAGE`  | hash | `url`, `attempts`, `reason` of the last failure, and the fields for `_body`  |
| `webhooks:batches` | zset | batches with a webhook, scored by the time of their last check in ms         |
| `batch:ID:webhook` | hash | `url`, and `witness`: a job that had not ended at the last check of the batch |
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Any, Final

from worker.errors import BadJob, LedgerRefused
from worker.ledger import schema
from worker.ledger.connection import RedisConnection
from worker.ledger.keys import Keys
from worker.ledger.worker_registry import WorkerFacts, WorkerRegistry
from worker.settings import Settings
from worker.storage.address import Address, parse, show
from worker.webhooks.receiver_limits import MAX_PER_HOST, MAX_PER_RECEIVER

_LOG: Final = logging.getLogger(__name__)
# STT_WEBHOOK_TIMEOUT_S is at most 60 s.
CLAIM_S: Final = 120.0
"""Seconds for which a worker owns a claimed message: longer than one attempt can take."""
MAX_READ_PER_CLAIM: Final = 500
"""Maximum number of due messages that one call of `claim` reads. If all of them are due but only some can be claimed,
the others become due again some seconds later, so that the next call reads the messages behind them."""
DEAD_LETTER_TTL: Final = timedelta(days=30)
"""Lifetime of a dead letter, or STT_RESULT_TTL if that is longer."""
BATCHES_PER_CHECK: Final = 200
"""Maximum number of batches that one call of `check_batches` checks."""
SCHEMA_VERSION: Final = 1
"""Value of `schema_version` in the JSON body of a webhook."""


@dataclass(frozen=True, slots=True)
class Message:
    """One webhook in the outbox."""

    id: str
    url: Address | None
    """None if the stored address is invalid; `reason` says why."""
    to: str
    """The address of the receiver for display, without secrets."""
    attempts: int
    subject: str
    """The id of the job or batch, or the hash of the API key."""
    body: bytes
    """The JSON to send, the same at every attempt. Empty if the message in Redis cannot be read; `reason` says why."""
    due_at: float
    """Time of the next attempt, or for a dead letter of its last failure, in seconds since 1970 on the Redis server's
    clock. 0 for a message that `Outbox.claim` returned."""
    reason: str
    """Why the last attempt failed, or why the message cannot be sent; empty if neither."""
    dead: bool
    """Whether the message is a dead letter."""
    receiver: str = ""
    """The name of the receiver, a hash of its address without the query; empty unless `Outbox.claim` returned it."""
    host: str = ""
    """The name of the host of the receiver, a hash as well."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """The answer of `Outbox.claim`."""

    messages: list[Message]
    more: bool
    """Whether more messages may be due for receivers with free deliveries."""


class Outbox:
    """Stores and claims webhooks. Belongs to one event loop.

    All methods raise LedgerUnavailable when Redis does not answer. The methods that read messages also raise
    LedgerNewer if only a newer version can read the messages.
    """

    def __init__(self, settings: Settings, connection: RedisConnection) -> None:
        self._connection = connection
        self._keys = Keys(settings.redis_prefix)
        self._registry = WorkerRegistry(connection, self._keys)
        # A dead letter must not expire before the record of its job.
        self._ttl_ms = int(max(DEAD_LETTER_TTL, settings.result_ttl).total_seconds() * 1000)

    async def claim(self, count: int, free: Mapping[str, int] | None = None) -> Claimed:
        """Claim at most `count` due messages for CLAIM_S. The message that has been due for the longest comes first.

        `free`: the maximum number of messages for some receivers and hosts by name. For all others it is
        MAX_PER_RECEIVER and MAX_PER_HOST. Messages above these limits remain unclaimed, so that another worker can send
        them."""
        limits: list[str | int] = [MAX_PER_RECEIVER, MAX_PER_HOST]
        for name, most in (free or {}).items():
            limits += (name, most)
        more, *found = await self._step("claim", count, int(CLAIM_S * 1000), MAX_READ_PER_CLAIM, *limits)
        messages = [
            _message(one[0], _pairs(one[4:]), attempts=int(one[1]), due_at=0.0, receiver=one[2], host=one[3])
            for one in found
        ]
        return Claimed(messages, bool(more))

    async def mark_delivered(self, message: Message) -> bool:
        """Remove a delivered message. Returns False if another worker has claimed the message meanwhile."""
        return bool(await self._step("delivered", message.id, message.attempts))

    async def retry_later(self, message: Message, delay_s: float, reason: str) -> bool:
        """Schedule another attempt in `delay_s` seconds. Returns False if another worker has claimed the message."""
        return bool(await self._step("retry_later", message.id, message.attempts, int(delay_s * 1000), reason))

    async def dead_letter(self, message: Message, reason: str) -> bool:
        """Make a message a dead letter, which only `requeue` schedules again. Returns False if another worker has
        claimed the message."""
        return bool(await self._step("dead_letter", message.id, message.attempts, self._ttl_ms, reason))

    async def requeue(self, message_ids: Sequence[str]) -> list[str]:
        """Move dead letters back to the outbox. They are due at once. Returns the ids of the dead letters that
        existed."""
        return [one for one in message_ids if await self._step("requeue", one, self._ttl_ms)]

    async def waiting(self) -> int:
        """Return the number of messages that wait for delivery."""
        return int(await self._connection.call(lambda redis: redis.zcard(self._keys["webhooks"])))

    async def workers(self) -> list[WorkerFacts]:
        """Return the workers that are alive, any of which may deliver the messages."""
        return await self._registry.alive()

    async def list_messages(self, *, dead: bool, limit: int = 1000) -> list[Message]:
        """Return the messages that wait for delivery or, with `dead`, the dead letters. They are ordered by `due_at`;
        at most `limit` are returned."""
        key = self._keys["webhooks:dead" if dead else "webhooks"]
        found = await schema.read(self._connection, self._keys)
        if found is not None and not found.readable:
            raise schema.newer_error(str(found.reader))
        scored = await self._connection.call(lambda redis: redis.zrange(key, 0, limit - 1, withscores=True))

        def read(pipeline: Any) -> None:
            for message_id, _ in scored:
                pipeline.hgetall(self._keys[f"webhook:{message_id}"])

        # With `each`, one key of another type does not hide the other messages.
        records = await self._connection.pipeline(read, each=True) if scored else []
        return [
            _message(message_id, fields, attempts=_count(fields.get("attempts")), due_at=due / 1000, dead=dead)
            for (message_id, due), fields in zip(scored, records, strict=True)
            if fields and not isinstance(fields, Exception)
        ]

    # -- batches -----------------------------------------------------------------------------------------------------

    async def watch_batch(self, batch_id: str, url: Address) -> None:
        """Request one webhook to `url`. It is sent when no job of the batch waits or runs any more.

        Call this after all jobs of the batch are submitted, because the webhook is sent only once."""
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
        """Add a message to the outbox for each batch whose jobs have all ended. Returns the number of messages."""
        watched = self._keys["webhooks:batches"]
        batches = await self._connection.call(lambda redis: redis.zrange(watched, 0, BATCHES_PER_CHECK - 1))
        added = 0
        for batch_id in batches:
            keys = (self._keys[f"batch:{batch_id}:webhook"], self._keys.batch(batch_id), watched)
            # The id of the message is random, but only one process can use it: the script removes the batch in the same
            # step.
            facts = ("batch", batch_id, self._keys.job(""), f"msg_{token_hex(20)}", self._ttl_ms)
            try:
                added += await self._step(*facts, keys=keys)
            except LedgerRefused as exc:  # a key of another type must not stop the webhooks of other batches
                _LOG.error("the webhook of the batch %s is dropped: %s", batch_id, exc)
                await self._connection.call(lambda redis, batch_id=batch_id: redis.zrem(watched, batch_id))  # type: ignore[misc]
        return added

    async def _step(self, step: str, *args: str | int, keys: Sequence[str] = ()) -> Any:
        """Run one step of `webhook_outbox.lua`, which describes the steps, their arguments and answers."""
        shared = (self._keys["webhooks"], self._keys["webhooks:dead"])
        args_of_step = (step, self._keys["webhook:"], *args, schema.VERSION)
        answer = await self._connection.script("webhook_outbox", (*shared, *keys), args_of_step)
        # Messages of a newer version may have fields that this version would send wrongly.
        if isinstance(answer, list) and answer[:1] == ["newer"]:
            raise schema.newer_error(answer[1])
        return answer


def _pairs(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _message(
    message_id: str,
    fields: dict[str, str],
    *,
    attempts: int,
    due_at: float,
    dead: bool = False,
    receiver: str = "",
    host: str = "",
) -> Message:
    """Create a message from its fields in Redis. An unreadable message gets an empty body instead of raising an error,
    so that it does not stop the delivery of others."""
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
        subject=fields.get("job") or fields.get("batch") or fields.get("key") or "",
        body=body,
        due_at=due_at,
        reason=reason,
        dead=dead,
        receiver=receiver,
        host=host,
    )


def _count(text: str | None) -> int:
    # Checked, because another program may have written the field.
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else 0


def _body(fields: dict[str, str]) -> bytes:
    """Return the JSON body with `type`, `timestamp` and `data`, as Standard Webhooks recommends, and `schema_version`.

    The body does not contain the transcript, which may be large."""
    if fields["kind"] == "batch":
        kind, ended = "batch.ended", fields["ended"]
        counts = json.loads(fields["counts"])
        data: dict[str, Any] = {"id": fields["batch"], "total": int(fields["total"]), "counts": counts or {}}
    elif fields["kind"] == "key":
        kind, ended = f"key.{fields['state']}", fields["at"]
        data = {"key": fields["key"], "error_code": fields["code"] or None, "error": fields["reason"] or None}
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
            # Null if the job has no transcript, and in messages that a version without this field wrote.
            "quality": json.loads(fields.get("job_quality") or "null"),
            # Empty if the list was too long for a webhook (see MAX_VALUE_BYTES in `lua/webhook_message.lua`).
            "outputs": [show(path) for path in json.loads(outputs)] if outputs else [],
            "error_code": fields["job_error_code"] or None,
            "error": fields["job_error"] or None,
        }
    at = datetime.fromtimestamp(int(ended) / 1000, UTC).isoformat(timespec="milliseconds")
    document = {"schema_version": SCHEMA_VERSION, "type": kind, "timestamp": at, "data": data}
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
        "utf-8", "backslashreplace"
    )


__all__ = ["CLAIM_S", "MAX_READ_PER_CLAIM", "Claimed", "Message", "Outbox"]
