"""Signals end a process in an orderly way, except SIGHUP under `nohup`."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from celery.apps.worker import Worker

from tasks.celery_program.draining_worker import DrainingWorker
from worker.end_signals import end_signals

ALL = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in ALL}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("ignored", [True, False])
def test_sighup_ends_a_process_unless_nohup_ignores_it(ignored: bool) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    assert (signal.SIGHUP in end_signals()) is not ignored
    assert set(ALL) - {signal.SIGHUP} <= set(end_signals())


@pytest.mark.parametrize("ignored", [True, False])
def test_a_celery_worker_handles_the_same_signals(monkeypatch: pytest.MonkeyPatch, ignored: bool) -> None:
    def celery_handlers(*_: Any) -> None:
        for number in ALL:
            signal.signal(number, lambda *_: None)

    monkeypatch.setattr(Worker, "install_platform_tweaks", celery_handlers)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    worker = DrainingWorker.__new__(DrainingWorker)
    worker.hostname = "w@test"
    worker.install_platform_tweaks(worker)
    ours = [number for number in ALL if signal.getsignal(number) == worker._end]
    assert ours == list(ALL[:3] if ignored else ALL)
    assert (signal.getsignal(signal.SIGHUP) is signal.SIG_IGN) is ignored
