"""`stt-batch health`: whether the process that keeps STT_HEALTH_FILE is alive, or ready."""

from __future__ import annotations

import os

import click

from tasks.cli.terminal_output import echo
from tasks.observability import health
from worker.errors import SettingsError


@click.command(short_help="Whether the worker or server here is alive, or ready.")
@click.option("--ready", is_flag=True, help="Whether it can do its work, beyond being alive.")
@click.option("--file", "path", metavar="FILE", help="The file it keeps up to date (or STT_HEALTH_FILE).")
@click.option(
    "--max-age",
    type=click.FloatRange(min=1),
    default=health.MAX_AGE_S,
    show_default=True,
    metavar="SECONDS",
    help="How old its last sign of life may be.",
)
def command(ready: bool, path: str | None, max_age: float) -> None:
    """Whether the worker, server, intake or watch of this machine or container is alive: exit status 0, or 1 with the
    reason.

    Alive: its timer and its event loop both run. Ready (--ready): it can do its work as well; a worker whose Redis is
    away, or a server whose model still loads, is alive and not ready.

    \b
    Examples:
      STT_HEALTH_FILE=/tmp/stt-health stt-batch worker
      STT_HEALTH_FILE=/tmp/stt-health stt-batch health
      stt-batch health --ready --file /tmp/stt-health
    """
    # Read without the settings, which take longer to load than all the rest.
    path = path or os.environ.get("STT_HEALTH_FILE")
    if not path:
        raise SettingsError("set STT_HEALTH_FILE to the file the process keeps up to date, or name it with --file")
    problem = health.problem(path, ready=ready, max_age_s=max_age)
    if problem is not None:
        echo(problem, err=True)
        raise SystemExit(1)
    echo("ready" if ready else "alive")
