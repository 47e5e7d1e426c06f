"""Tests each way to end a worker: from the first signal on it is not ready, its jobs return to the queue, and it does
not start again by itself."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.app import make_app
from tasks.cli.health import problem
from tasks.client.handles import submit_many
from tests.support.forked_process import ForkedProcess
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import wait_until
from worker.ledger.keys import Keys
from worker.ledger.ledger import JobState
from worker.settings import Settings, load


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url)


def run_jobs(folder: Path, settings: Settings) -> Any:
    """Queue four jobs that take a minute each, and wait until all of them run."""
    paths = [folder / f"slow-{1000 + n}.wav" for n in range(4)]
    for path in paths:
        path.write_bytes(path.name.encode())
    batch = submit_many(paths, settings=settings)
    wait_until(
        lambda: all(job.state is JobState.RUNNING and job.commits > 0 for job in batch.status().jobs),
        "all jobs run",
        timeout_s=60,
    )
    return batch


def send(one: Any, process: ForkedProcess, settings: Settings) -> None:
    if one == "shutdown":
        with make_app(settings) as app:
            app.control.shutdown()
    else:
        process.send_signal(one)


@pytest.mark.parametrize(
    "way",
    [
        [signal.SIGHUP, signal.SIGTERM],
        [signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT],
        [signal.SIGINT, signal.SIGINT, signal.SIGINT],
        [signal.SIGQUIT],
        ["shutdown"],
    ],
    ids=str,
)
@pytest.mark.gate_sample(3)
def test_the_jobs_are_requeued_and_the_worker_stays_away(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, tmp_path: Path, way: Sequence[Any]
) -> None:
    health = str(tmp_path / "health")
    process = workers.start(STT_CELERY_REMOTE_CONTROL="1", STT_HEALTH_FILE=health)
    batch = run_jobs(tmp_path, settings)
    wait_until(lambda: problem(health, ready=True) is None, "the worker is ready", timeout_s=60)
    # While Redis delays all writes, the jobs cannot be released, and the end of the worker takes a second.
    process.send_signal(signal.SIGSTOP)
    send(way[0], process, settings)
    raw.client_pause(1000, all=False)
    process.send_signal(signal.SIGCONT)
    wait_until(lambda: "shutting down" in (problem(health, ready=True) or ""), "it is not ready", poll_s=0.01)
    for one in way[1:]:
        send(one, process, settings)
    while process.poll() is None:
        assert problem(health, ready=True) is not None, "ready again"
        time.sleep(0.01)
    assert process.wait(60) == 0, workers.text()
    assert not Path(health).exists()
    status = batch.status()
    assert status.counts == {JobState.QUEUED: 4}
    assert all(job.commits > 0 and job.attempts == 0 for job in status.jobs)
    assert sum(int(raw.llen(name)) for name in Keys("stt:").queue_lists("stt")) == 4
    assert raw.hlen("stt:celery:unacked") == 0
    text = workers.text()
    assert text.count("worker ready") == 1
    assert text.count("job released") == 4
    assert "Traceback" not in text
