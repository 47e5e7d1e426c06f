"""The command `stt-batch health`, which checks the process that writes STT_HEALTH_FILE."""

from __future__ import annotations

import os

import click

from tasks.cli.terminal_output import echo
from tasks.observability import health
from worker.errors import SettingsError


@click.command(short_help="Check whether a worker or server on this machine is alive, or ready.")
@click.option("--ready", is_flag=True, help="Also check that the process can do its work.")
@click.option("--file", "path", metavar="FILE", help="Health file of the process (or STT_HEALTH_FILE).")
@click.option(
    "--max-age",
    type=click.FloatRange(min=1),
    default=health.MAX_AGE_S,
    show_default=True,
    metavar="SECONDS",
    help="Maximum age of the last heartbeat.",
)
def command(ready: bool, path: str | None, max_age: float) -> None:
    """Check whether the worker, server, intake or watch of this machine or container is alive. Exit status 0, or 1 with
    the reason.

    Alive: its timer and its event loop run. Ready (--ready): it can also do its work. A worker whose Redis is
    unreachable, or a server that still loads its model, is alive but not ready.

    \b
    Examples:
      STT_HEALTH_FILE=/tmp/stt-health stt-batch worker
      STT_HEALTH_FILE=/tmp/stt-health stt-batch health
      stt-batch health --ready --file /tmp/stt-health
    """
    # Read the environment directly, because loading the settings takes longer than the whole check.
    path = path or os.environ.get("STT_HEALTH_FILE")
    if not path:
        raise SettingsError("set STT_HEALTH_FILE to the health file of the process, or name the file with --file")
    problem = health.problem(path, ready=ready, max_age_s=max_age)
    if problem is not None:
        echo(problem, err=True)
        raise SystemExit(1)
    echo("ready" if ready else "alive")
