"""`stt-batch cancel`: end jobs before their time."""

from __future__ import annotations

import click

from tasks.cli import options
from tasks.cli.controlled import controlled, tell


@click.command(short_help="End jobs and batches that wait or run.")
@options.names
@options.as_json
def command(names: tuple[str, ...], as_json: bool) -> None:
    """End jobs, or all jobs of batches, that wait or run in the queue in Redis (STT_REDIS_URL).

    A running job stops within two seconds; what was committed is kept, and `stt-batch retry` goes on after it.

    \b
    Examples:
      stt-batch cancel 8c0f3a
      stt-batch cancel monday
    """
    tell("cancelled", controlled(lambda control: control.cancel(names)), as_json)
