"""The command `stt-batch schema`, which prints the JSON Schema of transcripts."""

from __future__ import annotations

import click

from tasks.cli.terminal_output import echo_json
from worker.transcript.formats import json_


@click.command(short_help="Print the JSON Schema of the transcripts.")
def command() -> None:
    """Print the JSON Schema (2020-12) of the JSON documents that `run`, `worker` and `export` write.

    \b
    Example:
      stt-batch schema > transcript.schema.json
    """
    echo_json(json_.schema())
