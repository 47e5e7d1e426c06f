"""The command `stt-batch worker`, which runs the jobs in the queue."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from tasks.cli import options
from tasks.service_check import check_service
from worker.open_files_limit import raise_limit
from worker.optional_modules import UNUSED_MODULES, without_modules
from worker.realtime.recording_folder import folder_problem
from worker.settings import Settings
from worker.settings_environment import as_environment

MAX_PROCESSES: Final = 256


class ProcessCount(click.ParamType[int]):
    """A number of processes, or `auto`: one for each available processor core."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from worker.core_count import available_cores  # noqa: PLC0415

        if value == "auto":
            return available_cores()
        return int(click.IntRange(1, MAX_PROCESSES).convert(value, param, ctx))


@click.command(short_help="Run the jobs in the queue.")
@click.option(
    "--sessions",
    "worker_sessions",
    type=click.IntRange(1, 2000),
    help="Number of sessions of each process at the same time (or STT_WORKER_SESSIONS).",
)
@click.option(
    "--processes",
    type=ProcessCount(),
    default=1,
    show_default=True,
    metavar="N|auto",
    help="Number of processes; `auto`: one for each available processor core.",
)
@click.option(
    "--speed",
    type=options.SpeedType(),
    metavar="SPEED",
    help="Speed at which a session sends audio: 1, a factor, or `max`.",
)
@options.log_level
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True)
@click.option("--process", type=int, hidden=True)
@options.service
def command(ready_file: Path | None, processes: int, process: int | None, **given: Any) -> None:
    """Run the jobs in the queue of STT_REDIS_URL until SIGTERM.

    SIGTERM, SIGHUP, SIGQUIT and Ctrl-C requeue the running jobs, which another worker continues after their last
    commit. `celery -A tasks worker` starts the same worker, with one process.

    One process uses about one processor core. With --processes one command uses several: they have one health file, one
    port for metrics and one log, and a process that dies is replaced.

    \b
    Examples:
      STT_URL=https://cantonese.ai STT_API_KEY=... stt-batch worker --sessions 8
      STT_REDIS_URL=redis://queue:6379/0 stt-batch worker --processes auto
    """
    if process is not None:
        from tasks.worker_processes.command import become_process  # noqa: PLC0415

        become_process(process)
    settings = options.settings_from(warn=False, **given)
    raise_limit()
    with without_modules(*UNUSED_MODULES):
        from tasks.observability import log_setup  # noqa: PLC0415  Celery and the audio code are for this command alone
        from tasks.service_profile_store import with_profile_of_redis  # noqa: PLC0415

    check_service(settings)
    log_setup.set_up(settings)
    import structlog  # noqa: PLC0415  not before the block above

    if (problem := folder_problem(settings)) is not None:
        structlog.get_logger("tasks.worker").warning("sessions are not recorded", reason=problem)
    settings, applied = asyncio.run(with_profile_of_redis(settings))
    if applied:
        structlog.get_logger("tasks.worker").info("profile of the service applied", **applied)
    on_ready = None if ready_file is None else ready_file.touch
    if processes > 1:
        from tasks.worker_processes.command import run_processes  # noqa: PLC0415

        raise SystemExit(run_processes(processes, settings, on_ready or (lambda: None)))
    os.environ.update(as_environment(settings))
    _run_celery(settings, on_ready, of_several=process is not None)


def _run_celery(settings: Settings, on_ready: Callable[[], object] | None, *, of_several: bool) -> None:
    with without_modules(*UNUSED_MODULES):
        # Celery would import the task later, outside this block.
        from tasks import transcribe  # noqa: F401, PLC0415
        from tasks.celery_worker import run_worker  # noqa: PLC0415

    # A remote shutdown of one process ends the whole worker. Otherwise the process would be replaced.
    parent = os.getppid() if of_several else None
    run_worker(monitored=settings.celery_remote_control, on_ready=on_ready, shut_down_with=parent)
