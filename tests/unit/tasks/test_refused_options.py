"""Options and variables of Celery that this worker cannot honour are refused, each with its remedy."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from click.testing import CliRunner

from tasks.celery_program.refused_options import environment_problems, option_problems, pool_problem

BROKER = "redis://127.0.0.1:6379/0"


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ({"autoscale": (10, 2)}, "STT_WORKER_SESSIONS"),
        ({"time_limit": 1.0}, "stt-batch cancel"),
        ({"soft_time_limit": 1.0}, "stt-batch cancel"),
        ({"max_tasks_per_child": 3}, "omit it"),
        ({"max_memory_per_child": 3}, "limit the memory"),
        ({"pool_start_method": "spawn"}, "omit it"),
        ({"beat": True}, "celery beat"),
        ({"queues": ["other"]}, "STT_QUEUE"),
        ({"queues": "stt,other"}, "STT_QUEUE"),
        ({"exclude_queues": ["stt"]}, "STT_QUEUE"),
    ],
)
def test_an_option_without_effect_is_refused(given: dict[str, Any], remedy: str) -> None:
    (problem,) = option_problems(given, "stt")
    assert remedy in problem


def test_options_that_work_are_accepted() -> None:
    given = {"autoscale": None, "queues": ["stt"], "exclude_queues": [], "beat": False, "pool_start_method": "fork"}
    assert option_problems({**given, "concurrency": 3, "time_limit": None}, "stt") == []
    assert pool_problem("threads") is None
    assert pool_problem("celery.concurrency.thread.TaskPool") is None
    assert environment_problems({"CELERY_BROKER_URL": BROKER, "CELERY_RESULT_BACKEND": ""}, BROKER) == []


@pytest.mark.parametrize("name", ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL"])
def test_a_queue_in_another_redis_than_the_ledger_is_refused(name: str) -> None:
    (problem,) = environment_problems({name: "redis://other/0"}, BROKER)
    assert name in problem
    assert "STT_REDIS_URL" in problem


def test_a_result_backend_is_refused_with_the_alternatives() -> None:
    (problem,) = environment_problems({"CELERY_RESULT_BACKEND": "redis://h/1"}, BROKER)
    assert all(word in problem for word in ("handle", "stt:events", "webhook"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--autoscale", "10,2"], "--autoscale: the number of sessions"),
        (["-P", "prefork"], "pool `threads` only, not on prefork"),
        (["--pool", "solo"], "pool `threads` only, not on solo"),
        (["--time-limit", "1"], "--time-limit: a job has no time limit"),
        (["-Q", "other", "-B"], "-B/--beat"),
        (["--detach", "--autoscale", "3"], "--autoscale: the number of sessions"),
    ],
)
def test_celery_worker_refuses_them_before_it_leaves_the_terminal(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], reason: str
) -> None:
    from celery.bin.celery import celery as program
    from celery.bin.worker import worker

    from tasks.app import _problems_of, app
    from tasks.celery_program import option_checks

    # `tasks.app` does this only if Celery's command line has loaded it.
    monkeypatch.setattr(app, "user_options", defaultdict(set))
    option_checks.install(app, _problems_of)
    monkeypatch.setenv("STT_REDIS_URL", BROKER)
    monkeypatch.setattr(program.params[0], "default", app)
    monkeypatch.setattr(worker, "params", list(worker.params))  # each run adds the options of the application
    done = CliRunner().invoke(program, ["worker", *arguments])
    assert done.exit_code == 2
    assert reason in done.output
