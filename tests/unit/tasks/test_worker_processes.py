"""Several worker processes under one command: decisions about restarts, one health state, the number of cores."""

from __future__ import annotations

from tasks.observability.health_state import HealthState
from tasks.observability.heartbeat import STARTING
from tasks.worker_processes.merged_health import merged
from tasks.worker_processes.restart_policy import MAX_FAILED_STARTS, MAX_PAUSE_S, STABLE_S, RestartPolicy


def test_a_process_that_worked_is_replaced_at_once() -> None:
    policy = RestartPolicy(was_complete=True)
    assert [policy.pause_s(1, was_ready=True, ran_s=STABLE_S) for _ in range(9)] == [0.0] * 9
    assert not policy.gives_up(1, was_ready=True, others_run=False)


def test_a_process_that_keeps_ending_is_replaced_ever_later() -> None:
    policy = RestartPolicy(was_complete=True)
    pauses = [policy.pause_s(1, was_ready=True, ran_s=1.0) for _ in range(12)]
    assert pauses[:4] == [0.0, 2.0, 4.0, 8.0]
    assert pauses[-1] == MAX_PAUSE_S
    assert policy.pause_s(2, was_ready=True, ran_s=1.0) == 0.0, "each process has its own count"
    assert policy.pause_s(1, was_ready=True, ran_s=STABLE_S) == 0.0
    assert policy.pause_s(1, was_ready=True, ran_s=1.0) == 0.0, "a process that worked starts over"


def test_a_process_that_cannot_start_at_first_ends_the_worker() -> None:
    policy = RestartPolicy()
    policy.pause_s(1, was_ready=False, ran_s=0.1)
    assert policy.gives_up(1, was_ready=False, others_run=True)


def test_later_the_worker_ends_only_if_no_process_runs_and_none_starts() -> None:
    policy = RestartPolicy(was_complete=True)
    for _ in range(MAX_FAILED_STARTS):
        assert not policy.gives_up(1, was_ready=False, others_run=False)
        policy.pause_s(1, was_ready=False, ran_s=0.1)
    assert policy.gives_up(1, was_ready=False, others_run=False)
    assert not policy.gives_up(1, was_ready=False, others_run=True)


def state(problem: str | None = None) -> HealthState:
    return HealthState(7, 100.0, {"event loop": 99.0}, problem)


def test_the_worker_is_ready_when_all_its_processes_are() -> None:
    assert merged(1, 100.0, {1: state(), 2: state()}, None).problem is None
    found = merged(1, 100.0, {1: state(), 2: state("Redis is away"), 3: None}, None)
    assert found.problem == f"process 2: Redis is away; process 3: {STARTING}"
    assert found.stuck(101.0, 20.0) is None
    assert merged(1, 100.0, {1: state()}, "it is shutting down").problem == "it is shutting down"
