"""Delays between attempts and polls are bounded, grow, and differ between processes."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from worker.backoff import backoff_s, exponential_s, jittered

MANY = 500


@pytest.fixture(autouse=True)
def _seed() -> Iterator[None]:
    state = random.getstate()
    random.seed(14)
    yield
    random.setstate(state)


@pytest.mark.parametrize("spread", [0.0, 0.1, 1 / 3, 1.0])
def test_a_poll_is_at_most_the_spread_early_or_late(spread: float) -> None:
    waits = [jittered(2.0, spread) for _ in range(MANY)]
    assert 2 * (1 - spread) - 1e-9 <= min(waits) <= 2 * (1 - 0.9 * spread)
    assert 2 * (1 + 0.9 * spread) <= max(waits) <= 2 * (1 + spread) + 1e-9


@pytest.mark.parametrize(
    ("failures", "factor", "expected"),
    [(-1, 2, 0.5), (0, 2, 0.5), (1, 2, 1.0), (2, 2, 2.0), (6, 2, 30.0), (1, 4, 2.0), (2, 1.5, 1.125)],
)
def test_the_wait_grows_with_each_failure_up_to_its_maximum(failures: int, factor: float, expected: float) -> None:
    assert exponential_s(failures, 0.5, 30.0, factor=factor) == pytest.approx(expected)


@pytest.mark.parametrize("failures", [0, 3, 2000, 10**6])
def test_neither_a_long_first_wait_nor_many_failures_exceed_the_maximum(failures: int) -> None:
    assert exponential_s(failures, 100.0, 30.0) == 30.0
    assert exponential_s(failures, 100.0, 30.0, factor=4.0) == 30.0
    assert backoff_s(failures, 100.0, 30.0) <= 30.0


def test_attempts_that_fail_together_do_not_retry_together() -> None:
    waits = [backoff_s(3, 0.5, 30.0) for _ in range(MANY)]
    assert 2.0 <= min(waits) < 2.2
    assert 3.8 < max(waits) <= 4.0
    assert len(set(waits)) > MANY * 0.9


def test_a_first_wait_of_zero_means_no_wait() -> None:
    assert jittered(0.0) == exponential_s(5, 0.0, 30.0) == backoff_s(5, 0.0, 30.0) == 0.0
