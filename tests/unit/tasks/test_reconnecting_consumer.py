"""Pauses between quick restarts of the consumer."""

from __future__ import annotations

import pytest

from tasks.celery_program.reconnecting_consumer import MAX_RETRY_S, STABLE_S, RestartPauses


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_quick_restarts_wait_longer_each_time_and_a_stable_connection_resets_this() -> None:
    clock = Clock()
    pauses = RestartPauses(lambda: None, clock, clock.sleep)
    waited = []
    for _ in range(6):
        before = clock.now
        pauses.step()
        waited.append(clock.now - before)
    assert waited == pytest.approx([0, 0.5, 1, 1.5, 2, 2], abs=0.15)
    assert max(waited) < MAX_RETRY_S + 0.2
    clock.now += STABLE_S
    before = clock.now
    pauses.step()
    assert clock.now == before


def test_a_worker_that_must_stop_does_not_wait() -> None:
    def stop() -> None:
        raise SystemExit(0)

    clock = Clock()
    pauses = RestartPauses(stop, clock, clock.sleep)
    pauses.step()
    with pytest.raises(SystemExit):
        pauses.step()
    assert clock.now == 100
