"""The options of `celery worker` that this worker cannot honour, each with its reason and its remedy. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

POOL: Final = "threads"
_REFUSED: Final = {
    "autoscale": "--autoscale: the number of sessions of a worker is fixed; set STT_WORKER_SESSIONS, and start more"
    " workers for more jobs (`stt-batch worker --processes N`)",
    "max_tasks_per_child": "--max-tasks-per-child: a worker has no child processes that could be replaced; omit it",
    "max_memory_per_child": "--max-memory-per-child: a worker has no child processes; limit the memory of the process"
    " (MemoryMax= of systemd, limits of a container)",
    "time_limit": "--time-limit: a job has no time limit; `stt-batch cancel JOB` stops one",
    "soft_time_limit": "--soft-time-limit: a job has no time limit; `stt-batch cancel JOB` stops one",
    "beat": "-B/--beat: this worker has no schedule; run `celery beat` of your own application as a process of its own",
}


def pool_problem(name: str) -> str | None:
    """Return why the pool `name` is refused, or None for the pool of this worker. `name`: a name of `celery worker -P`,
    or the full name of a class."""
    if name in (POOL, "celery.concurrency.thread.TaskPool"):
        return None
    remedy = "omit -P/--pool, or start it with `stt-batch worker`"
    return f"this worker runs on the pool `{POOL}` only, not on {name}: {remedy}"


def option_problems(given: Mapping[str, Any], queue: str) -> list[str]:
    """Return why options are refused. `given`: the options of `celery worker` by name, those without a value are None,
    False or empty. `queue`: STT_QUEUE."""
    problems = [text for name, text in _REFUSED.items() if given.get(name)]
    if given.get("pool_start_method") == "spawn":
        problems.append(f"--pool-start-method: the pool `{POOL}` starts no processes; omit it")
    wanted, excluded = _names(given.get("queues")), _names(given.get("exclude_queues"))
    if (wanted and set(wanted) != {queue}) or queue in excluded:
        problems.append(f"-Q/-X: this worker reads the queue {queue!r} only; set STT_QUEUE to read another one")
    return problems


def environment_problems(environ: Mapping[str, str], broker_url: str) -> list[str]:
    """Return why Celery's own environment variables are refused. `broker_url`: the address made of STT_REDIS_URL."""
    problems = [
        f"{name}: the queue and the ledger are in one Redis, that of STT_REDIS_URL; unset {name}"
        for name in ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")
        if environ.get(name) not in (None, "", broker_url)
    ]
    if environ.get("CELERY_RESULT_BACKEND") not in (None, "", "disabled", "disabled://"):
        problems.append(
            "CELERY_RESULT_BACKEND: workers store no Celery results; unset it, and read a job with its handle"
            " (tasks.submit), the stream stt:events or a webhook"
        )
    return problems


def _names(value: str | Collection[str] | None) -> list[str]:
    names = value.split(",") if isinstance(value, str) else list(value or ())
    return [name.strip() for name in names if name.strip()]


__all__ = ["POOL", "environment_problems", "option_problems", "pool_problem"]
