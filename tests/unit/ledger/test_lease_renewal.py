"""Renewal of a lease while Redis hangs."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.support.wait import allowed_s
from worker.ledger.connection import WORKER_CALL_LIMIT_S, RedisConnection
from worker.ledger.lease import Lease, LeaseNotRenewed
from worker.ledger.records import ContentRecord


async def test_a_lost_cancellation_does_not_keep_an_attempt_without_a_lease() -> None:
    """redis-py 8.1 can lose one cancellation while it connects to a server that hangs."""

    async def hang(**_: Any) -> Any:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(60)

    connection = RedisConnection("redis://127.0.0.1:1/0", limit_s=WORKER_CALL_LIMIT_S)
    connection._scripts["renew"] = hang  # type: ignore[assignment]
    lease = Lease(
        connection,
        (),
        job_id="job",
        epoch="1",
        owner="worker",
        spec="{}",
        attempts=1,
        commits=0,
        tries=1,
        transcribed=False,
        unread=0,
        shortages=0,
        content=ContentRecord(),
        lease_s=0.4,
        unfinished_ttl=timedelta(days=1),
        result_ttl=timedelta(days=1),
    )
    async with asyncio.timeout(allowed_s(5)):
        with pytest.raises(LeaseNotRenewed):
            await lease.renew_every(0.1)
