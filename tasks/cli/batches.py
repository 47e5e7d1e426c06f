"""`stt-batch list`, `pause` and `resume`: batches as they are known, and held back for a while."""

from __future__ import annotations

import asyncio

import click
from rich.console import Console

from tasks.cli import options
from tasks.cli.controlled import controlled, tell
from tasks.cli.output import echo_json
from tasks.cli.status import Batch, batch_lines, find_batch, summary_json
from worker.settings import Settings
from worker.storage.ledger import Ledger


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


@click.command("list", short_help="List the newest batches.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="How many.")
@options.as_json
def list_(limit: int, as_json: bool) -> None:
    """List the batches in Redis (STT_REDIS_URL), newest first: their jobs by state, speed and time left.

    \b
    Examples:
      stt-batch list
      stt-batch list --limit 100 --json
    """
    found = asyncio.run(_newest(options.settings_from(), limit))
    if as_json:
        batches = [summary_json(batch.summary, with_jobs=False) for batch in found]
        echo_json({"batches": batches})
        return
    console = Console(highlight=False)
    if not found:
        console.print("no batches yet")
    for batch in found:
        console.print(batch_lines(batch.summary)[0], soft_wrap=True)


async def _newest(settings: Settings, limit: int) -> list[Batch]:
    ledger = Ledger(settings)
    try:
        found = [
            await find_batch(ledger, name) for name in await ledger.recent_batches(limit) if await ledger.batch(name)
        ]
        return [batch for batch in found if batch.status.jobs]
    finally:
        await ledger.close()
