"""`stt-batch retry`: try again what came to no good end."""

from __future__ import annotations

import click

from tasks.cli import options
from tasks.cli.controlled import controlled, tell


@click.command(short_help="Try failed, incomplete and cancelled jobs again.")
@click.argument("names", nargs=-1, metavar="[ID...]")
@click.option(
    "--failed", is_flag=True, help="All that failed or are incomplete; with the name of a batch, of that one."
)
@options.as_json
def command(names: tuple[str, ...], failed: bool, as_json: bool) -> None:
    """Queue jobs again that failed, are incomplete or were cancelled, by ID or whole batches.

    They go on after what was committed, unless something before that is missing.

    \b
    Examples:
      stt-batch retry 8c0f3a
      stt-batch retry --failed monday
      stt-batch retry --failed
    """
    if not names and not failed:
        raise click.UsageError("name jobs or batches, or give --failed")
    if failed and len(names) > 1:
        raise click.UsageError("--failed takes the name of one batch, or none")
    if failed:
        queued = controlled(lambda control: control.retry_failed(names[0] if names else None))
    else:
        queued = controlled(lambda control: control.retry(names))
    tell("queued", queued, as_json)
