"""Acquisitions whose answer was lost in an outage of Redis."""

from __future__ import annotations

from typing import Any, cast

import pytest

from tasks.execution.redis_outage import Acquirer
from worker.errors import LedgerUnavailable
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger, Refusal


class ScriptedLedger:
    """Answers each acquisition with the next of `answers`, and stores its owner."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.owners: list[str] = []

    async def acquire_next(self, _job_id: str, owner: str) -> Any:
        self.owners.append(owner)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_job_of_a_lost_answer_that_another_worker_has_uses_up_no_message() -> None:
    lease = object.__new__(Lease)
    ledger = ScriptedLedger(LedgerUnavailable("away"), Refusal.HELD, lease)
    acquirer = Acquirer(cast(Ledger, ledger), "worker")
    with pytest.raises(LedgerUnavailable):
        await acquirer.acquire("a")
    assert await acquirer.acquire("a") is lease
    first, again, new = ledger.owners
    assert first == again != new


async def test_a_refusal_of_a_new_acquisition_is_returned() -> None:
    assert await Acquirer(cast(Ledger, ScriptedLedger(Refusal.ENDED)), "worker").acquire("a") is Refusal.ENDED
