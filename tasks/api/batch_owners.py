"""The owners of batches: a key with the role `submit` adds jobs only to batches that it began.

The Redis key `http:batch:NAME` contains the producer that began the batch NAME over HTTP.
"""

from __future__ import annotations

from tasks.api.context import ApiContext
from tasks.api.problems import Problem
from worker.http_keys import Principal
from worker.ledger.expiry import UNFINISHED_TTL
from worker.ledger.keys import Keys


def _key(context: ApiContext, batch: str) -> str:
    return Keys(context.settings.redis_prefix)[f"http:batch:{batch}"]


async def claim_batch(context: ApiContext, principal: Principal, batch: str | None) -> None:
    """Make the principal the owner of a new batch. Raises Problem 409 if the batch belongs to another producer."""
    if batch is None or principal.may_operate:
        return
    key, mine = _key(context, batch), principal.producer
    ttl = max(UNFINISHED_TTL, context.settings.result_ttl)
    new = await context.connection.call(lambda redis: redis.set(key, mine, nx=True, px=ttl))
    if new and not await context.ledger.batch(batch):
        return
    if new:  # a batch of another program, which has no owner over HTTP
        await context.connection.call(lambda redis: redis.delete(key))
    owner = await context.connection.call(lambda redis: redis.get(key))
    if new or owner != mine:
        raise Problem(409, f"the batch {batch} belongs to another producer; choose another name", code="batch_taken")
    await context.connection.call(lambda redis: redis.pexpire(key, ttl))


async def owns_batch(context: ApiContext, principal: Principal, batch: str) -> bool:
    """Whether the principal sees the batch: `read` and `operate` see all batches, `submit` its own."""
    if principal.sees_all:
        return True
    owner = await context.connection.call(lambda redis: redis.get(_key(context, batch)))
    return bool(owner == principal.producer)


__all__ = ["claim_batch", "owns_batch"]
