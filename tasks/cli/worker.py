"""The command `stt-batch worker`, which runs the jobs in the queue."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click
import structlog

from tasks.cli import options
from worker.open_files_limit import raise_limit
from worker.settings_environment import as_environment


@click.command(short_help="Run the jobs in the queue.")
@click.option(
    "--sessions",
    "worker_sessions",
    type=click.IntRange(1, 2000),
    help="Number of sessions at the same time (or STT_WORKER_SESSIONS).",
)
@click.option("--speed", type=options.SpeedType(), metavar="SPEED", help="Pace of a session: 1, a factor, or `max`.")
@options.log_level
@click.option("--ready-file", type=click.Path(path_type=Path), hidden=True)
@options.service
def command(ready_file: Path | None, **given: Any) -> None:
    """Run the jobs in the queue of STT_REDIS_URL until SIGTERM.

    SIGTERM and Ctrl-C requeue the running jobs, which another worker continues after their last commit. `celery -A
    tasks worker` starts the same worker.

    \b
    Examples:
      STT_URL=https://cantonese.ai STT_API_KEY=... stt-batch worker --sessions 8
      STT_REDIS_URL=redis://queue:6379/0 stt-batch worker
    """
    settings = options.settings_from(warn=False, **given)
    raise_limit()
    from tasks.app import check_service  # noqa: PLC0415  Celery and the audio code are for this command alone
    from tasks.celery_worker import run_worker  # noqa: PLC0415
    from tasks.observability import log_setup  # noqa: PLC0415
    from tasks.service_profile_store import with_profile_of_redis  # noqa: PLC0415

    check_service(settings)
    log_setup.set_up(settings)
    settings, applied = asyncio.run(with_profile_of_redis(settings))
    if applied:
        structlog.get_logger("tasks.worker").info("profile of the service applied", **applied)
    os.environ.update(as_environment(settings))
    run_worker(on_ready=None if ready_file is None else ready_file.touch)
