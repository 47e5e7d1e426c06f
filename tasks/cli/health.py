"""The command `stt-batch health`, which checks the process that writes STT_HEALTH_FILE."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from tasks.cli.terminal_output import echo
from tasks.observability import heartbeat
from tasks.observability.health_state import HealthState
from worker.errors import SettingsError


@click.command(short_help="Check whether a worker or server on this machine is alive, or ready.")
@click.option("--ready", is_flag=True, help="Also check that the process can do its work.")
@click.option("--file", "path", metavar="FILE", help="Health file of the process (or STT_HEALTH_FILE).")
@click.option(
    "--max-age",
    type=click.FloatRange(min=1),
    default=heartbeat.MAX_AGE_S,
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
    found = problem(path, ready=ready, max_age_s=max_age)
    if found is not None:
        echo(found, err=True)
        raise SystemExit(1)
    echo("ready" if ready else "alive")


def problem(path: str, *, ready: bool = False, max_age_s: float = heartbeat.MAX_AGE_S) -> str | None:
    """Return the problem of the process that writes the health file `path`, or None if it has none.

    `ready`: check not only that the process is alive, but also that it can do its work.
    """
    try:
        state = HealthState.read(path)
    except FileNotFoundError:
        return f"{path} does not exist: the process has not started, or has ended"
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return f"{path} cannot be read: {exc}"
    return _stuck(state, max_age_s) or (_not_ready(state.problem) if ready else None)


def _stuck(state: HealthState, max_age_s: float) -> str | None:
    now = time.monotonic()
    if state.written > now:
        return f"process {state.pid} is gone: its health file was written before the machine was started"
    found = state.stuck(now, max_age_s)
    kind = "stuck or gone" if now - state.written > max_age_s else "stuck"
    return None if found is None else f"process {state.pid} is {kind}: {found}"


def _not_ready(because: Any) -> str | None:
    return None if because is None else f"not ready: {because}"
