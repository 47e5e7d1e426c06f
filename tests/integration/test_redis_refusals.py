"""Servers that accept a worker's connections or commands only in part: the worker waits, names the reason a few times,
and continues. No job fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.cli.health import problem
from tasks.client.handles import submit_many
from tests.support.redis_topologies import Server
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import wait_until
from worker.ledger.ledger import JobState
from worker.settings import load

IS_REPLICA = "is a read-only replica; set STT_REDIS_URL to its primary"


@contextmanager
def running(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with running(Server(tmp_path / "server", "--save", "")) as one:
        yield one


@pytest.fixture
def workers(tmp_path: Path, server: Server) -> Iterator[StandInWorkers]:
    started = StandInWorkers(tmp_path, server.url)
    yield started
    started.close()


def queue(folder: Path, server: Server, *names: str) -> Any:
    paths = [folder / name for name in names]
    for path in paths:
        path.write_bytes(path.name.encode())
    return submit_many(paths, settings=load({}, redis_url=server.url))


def until_done(batch: Any, attempts: int = 1) -> None:
    wait_until(lambda: all(job.state.ended for job in batch.status().jobs), "the jobs end", timeout_s=120)
    jobs = batch.status().jobs
    assert {job.state for job in jobs} == {JobState.DONE}, [job.error for job in jobs]
    assert {job.attempts for job in jobs} == {attempts}, "an outage is no attempt"


def assert_quiet(text: str) -> None:
    assert "Traceback" not in text
    assert "RestartFreqExceeded" not in text
    assert len(text.splitlines()) < 80, text


@pytest.mark.parametrize(
    "limit", [3, pytest.param(6, marks=pytest.mark.chaos), pytest.param(9, marks=pytest.mark.chaos)]
)
def test_a_worker_that_reaches_the_limit_of_clients_waits(
    tmp_path: Path, server: Server, workers: StandInWorkers, limit: int
) -> None:
    """With 3 connections the queue gets none, with 9 the ledger gets too few."""
    batch = queue(tmp_path, server, *(f"slow-{20 + n}.wav" for n in range(8)))
    with server.client() as client:
        client.config_set("maxclients", limit)
        worker = workers.start()
        wait_until(lambda: workers.text().count("`maxclients` is reached; raise it") >= 3, "it is named", timeout_s=60)
        assert worker.poll() is None
        client.config_set("maxclients", 1000)
        until_done(batch)
    assert_quiet(workers.text())


def test_jobs_survive_a_limit_of_clients_that_is_reached_while_they_run(
    tmp_path: Path, server: Server, workers: StandInWorkers
) -> None:
    batch = queue(tmp_path, server, *(f"slow-{100 + n}.wav" for n in range(4)))
    workers.start()
    wait_until(lambda: all(job.commits > 0 for job in batch.status().jobs), "all jobs run", timeout_s=60)
    with server.client() as client:
        client.config_set("maxclients", 4)
        client.client_kill_filter(_type="normal", skipme=True)
        client.client_kill_filter(_type="pubsub", skipme=True)
        wait_until(lambda: "`maxclients` is reached; raise it" in workers.text(), "it is named", timeout_s=60)
        client.config_set("maxclients", 1000)
    until_done(batch)
    assert_quiet(workers.text())


def test_a_worker_on_a_read_only_replica(tmp_path: Path, server: Server, workers: StandInWorkers) -> None:
    """A worker does not start on a replica. A worker whose primary becomes a replica waits, and is not ready."""
    health = str(tmp_path / "health")
    link = ("--save", "", "--replicaof", f"127.0.0.1 {server.port}")
    with running(Server(tmp_path / "replica", *link)) as replica, server.client() as client:
        refused = StandInWorkers(tmp_path / "replica", replica.url)
        assert refused.start().wait(60) == 1
        assert f"error: Redis at {replica.url} {IS_REPLICA}" in refused.text()
        assert_quiet(refused.text())

        batch = queue(tmp_path, server, "slow-60.wav", "slow-61.wav")
        worker = workers.start(STT_HEALTH_FILE=health)
        wait_until(lambda: all(job.commits > 0 for job in batch.status().jobs), "all jobs run", timeout_s=60)
        wait_until(lambda: problem(health, ready=True) is None, "the worker is ready", timeout_s=60)
        client.replicaof("127.0.0.1", replica.port)
        named = f"the worker tries again: Redis at redis://127.0.0.1:{server.port}/0 {IS_REPLICA}"
        wait_until(lambda: workers.text().count(named) >= 3, "the reason is in the log", timeout_s=60)
        wait_until(lambda: IS_REPLICA in (problem(health, ready=True) or ""), "it is not ready", timeout_s=60)
        assert problem(health) is None, "but alive"
        assert worker.poll() is None
        client.replicaof("NO", "ONE")
        until_done(batch)
        wait_until(lambda: problem(health, ready=True) is None, "the worker is ready", timeout_s=60)
    assert_quiet(workers.text())
