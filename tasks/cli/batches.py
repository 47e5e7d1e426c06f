"""`stt-batch pause` and `stt-batch resume`: hold a batch back for a while."""

from __future__ import annotations

import click

from tasks.cli import options
from tasks.cli.controlled import controlled, tell


@click.command(short_help="Hold batches or jobs back until they are resumed.")
@options.names
@options.as_json
def pause(names: tuple[str, ...], as_json: bool) -> None:
    """Hold batches or jobs back. Running jobs stop within two seconds and keep what was committed; jobs that join a
    paused batch later wait as well.

    \b
    Examples:
      stt-batch pause monday
    """
    tell("paused", controlled(lambda control: control.pause(names)), as_json)


@click.command(short_help="Let paused batches or jobs go on.")
@options.names
@options.as_json
def resume(names: tuple[str, ...], as_json: bool) -> None:
    """Let paused batches or jobs go on after what was committed.

    \b
    Examples:
      stt-batch resume monday
    """
    tell("resumed", controlled(lambda control: control.resume(names)), as_json)
