"""The ledger against a small model: one writer at a time, no commit lost or doubled, every job ends or waits."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.ledger_model import LedgerMachine, LedgerWorld
from worker.settings import load

STEPS = 100_000


def run_steps(redis_url: str, examples: int, steps: int) -> int:
    """Run random sequences of calls, each followed by a check of all invariants. Returns the number of calls."""
    world = LedgerWorld(load({}, redis_url=redis_url, lease_s=300, lease_renew_s=8))
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        phases=(Phase.generate,),  # reducing a failure to few steps would take minutes
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(lambda: LedgerMachine(world), settings=limits)
    finally:
        world.close()
    return world.steps


def test_random_calls_and_crashes_leave_the_ledger_as_the_model_says(redis_url: str) -> None:
    assert run_steps(redis_url, examples=8, steps=40) > 100


@pytest.mark.chaos
@pytest.mark.timeout(5400)
def test_100_000_random_calls_and_crashes(redis_url: str) -> None:
    done = 0
    while done < STEPS:
        done += run_steps(redis_url, examples=200, steps=100)
