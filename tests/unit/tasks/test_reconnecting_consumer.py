"""Pauses between quick restarts of the consumer, and the reasons of lost connections."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from celery.worker.consumer import Consumer

from tasks.celery_program.reconnecting_consumer import MAX_RETRY_S, STABLE_S, ReconnectingConsumer, RestartPauses


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


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        ("max number of clients reached", "its limit `maxclients` is reached; raise it"),
        ("You can't write against a read only replica.", "is a read-only replica"),
    ],
)
@pytest.mark.parametrize("stage", ["before_connected", "after_connected"])
def test_the_reason_of_a_lost_connection_is_named(
    stage: str, error: str, reason: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis may refuse the first connection of a worker, or a later one."""
    left_to_celery: list[Exception] = []
    monkeypatch.setattr(Consumer, "on_connection_error_after_connected", lambda self, exc: left_to_celery.append(exc))
    consumer = ReconnectingConsumer.__new__(ReconnectingConsumer)
    address = SimpleNamespace(shown="redis://queue:6379/0")
    consumer.app = SimpleNamespace(conf=SimpleNamespace(broker_transport_options={"redis_address": address}))
    getattr(consumer, f"on_connection_error_{stage}")(ConnectionError(error))
    (line,) = caplog.messages
    assert "Redis at redis://queue:6379/0" in line
    assert reason in line
    assert len(left_to_celery) == (stage == "after_connected")


def test_celery_logs_other_reasons_of_a_lost_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Consumer, "on_connection_error_after_connected", lambda self, exc: None)
    consumer = ReconnectingConsumer.__new__(ReconnectingConsumer)
    consumer.on_connection_error_after_connected(ConnectionError("Connection reset by peer"))
    assert not caplog.messages
