"""The ledger against a small model: one writer at a time, no commit lost or doubled, every job ends or waits.

The long form makes 100,000 calls in PARTS tests, which can run at the same time. STT_LEDGER_SEED repeats a part.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import get_state_machine_test

from tests.support.ledger_model import LedgerMachine, LedgerWorld
from worker.settings import load

STEPS = 100_000
PARTS = 10


def run_steps(redis_url: str, number: int, examples: int, steps: int) -> int:
    """Run random sequences of calls, each followed by a check of all invariants. `number`: seed of the sequences.
    Returns the number of calls."""
    world = LedgerWorld(load({}, redis_url=redis_url, lease_s=300, lease_renew_s=8))
    limits = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=(Phase.generate,),  # reducing a failure to few steps would take minutes
        suppress_health_check=list(HealthCheck),
    )
    try:
        machine: Any = lambda: LedgerMachine(world)  # noqa: E731  hypothesis calls it, as it would a class
        seed(number)(get_state_machine_test(machine, settings=limits))()
    finally:
        world.close()
    return world.steps


def test_random_calls_and_crashes_leave_the_ledger_as_the_model_says(redis_url: str) -> None:
    assert run_steps(redis_url, random.SystemRandom().getrandbits(32), examples=8, steps=40) > 100


@pytest.mark.chaos
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(PARTS))
def test_100_000_random_calls_and_crashes(redis_url: str, part: int) -> None:
    number = int(os.environ.get("STT_LEDGER_SEED", random.SystemRandom().getrandbits(32)))
    done = rounds = 0
    while done < STEPS / PARTS:
        print(f"part {part}: seed {number + rounds}")  # noqa: T201  shown if the test fails
        done += run_steps(redis_url, number + rounds, examples=50, steps=100)
        rounds += 1
    print(f"part {part}: {done} calls, seeds {number} to {number + rounds - 1}")  # noqa: T201
