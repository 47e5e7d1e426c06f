"""Records jobs that arrive in many small requests with few round trips to Redis.

While one group of jobs is recorded, the jobs of further requests wait. They are then recorded together. Under load a
round trip so serves dozens of requests; a single request is recorded at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from tasks.client.producer import Producer
from tasks.job_spec import JobSpec
from worker.errors import BadJob, QueueFull
from worker.http_keys import Principal
from worker.ledger.ledger import StateChange

MAX_PENDING: Final = 10_000
"""Maximum number of jobs that wait to be recorded; further ones are refused."""


@dataclass(frozen=True, slots=True)
class Group:
    """The values that all jobs of one recorded group share."""

    batch: str | None = None
    force: bool = False
    producer: str = ""
    claim: str = ""


@dataclass(frozen=True, slots=True)
class _Waiting:
    identity: str
    spec: JobSpec
    result: asyncio.Future[StateChange]


class SubmissionQueue:
    """Records jobs with `Producer.enqueue`. Belongs to the event loop of the producer."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._waiting: defaultdict[Group, list[_Waiting]] = defaultdict(list)
        self._count = 0
        self._running: asyncio.Task[None] | None = None

    async def submit(self, identity: str, spec: JobSpec, group: Group) -> StateChange:
        """Record one job and wake the workers. Raises BadJob, QueueFull, LedgerUnavailable.

        Cancelling the call does not withdraw the job."""
        if self._count >= MAX_PENDING:
            raise QueueFull(f"{MAX_PENDING} requests wait for Redis; submit it again later")
        result: asyncio.Future[StateChange] = asyncio.get_running_loop().create_future()
        self._waiting[group].append(_Waiting(identity, spec, result))
        self._count += 1
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        # The shield: a request that is cancelled must not cancel the jobs of others.
        return await asyncio.shield(result)

    async def _run(self) -> None:
        while self._waiting:
            group = next(iter(self._waiting))
            some = self._waiting.pop(group)
            self._count -= len(some)
            await self._record(group, some)

    async def _record(self, group: Group, some: list[_Waiting]) -> None:
        try:
            found = await self._enqueue(group, some)
        except (BadJob, QueueFull) as exc:
            if len(some) == 1:
                _fail(some[0], exc)
                return
            # One job of several is refused. Recording a job twice is harmless, so each is tried by itself.
            for one in some:
                await self._record(group, [one])
        except Exception as exc:  # noqa: BLE001  raised in each request
            for one in some:
                _fail(one, exc)
        else:
            for one, change in zip(some, found, strict=True):
                if not one.result.done():
                    one.result.set_result(change)

    async def _enqueue(self, group: Group, some: list[_Waiting]) -> list[StateChange]:
        return await self._producer.enqueue(
            [(one.identity, one.spec) for one in some],
            batch=group.batch,
            force=group.force,
            producer=group.producer,
            claim=group.claim,
        )


def _fail(one: _Waiting, error: BaseException) -> None:
    if not one.result.done():
        one.result.set_exception(error)
        one.result.exception()  # marks it as retrieved: the request may have been cancelled


def scope_of(principal: Principal) -> str:
    """Return the scope of job ids, which is also the producer in the records of the jobs; empty for operators. Keys
    with the role `submit` have separate jobs for equal audio, so that no key can see or cancel a job of another one."""
    return "" if principal.may_operate else principal.producer


def group_of(principal: Principal, batch: str | None, *, force: bool = False, claim: str = "") -> Group:
    """Return the group of a submission. Operators may change all jobs."""
    return Group(batch, force, scope_of(principal), claim)


__all__ = ["Group", "SubmissionQueue", "group_of", "scope_of"]
