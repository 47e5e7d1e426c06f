"""`stt-batch cancel`, `pause`, `resume` and `retry`: control jobs and batches in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import click

from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_json
from tasks.client.control import Control
from tasks.client.producer import Producer


@click.command(short_help="End jobs and batches that wait or run.")
@options.names
@options.as_json
def cancel(names: tuple[str, ...], as_json: bool) -> None:
    """End jobs, or all jobs of batches, that wait or run in the queue in Redis (STT_REDIS_URL).

    A running job stops within two seconds; what was committed is kept, and `stt-batch retry` goes on after it.

    \b
    Examples:
      stt-batch cancel 8c0f3a
      stt-batch cancel monday
    """
    _print_changed("cancelled", _controlled(lambda control: control.cancel(names)), as_json)


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
    _print_changed("paused", _controlled(lambda control: control.pause(names)), as_json)


@click.command(short_help="Let paused batches or jobs go on.")
@options.names
@options.as_json
def resume(names: tuple[str, ...], as_json: bool) -> None:
    """Let paused batches or jobs go on after what was committed.

    \b
    Examples:
      stt-batch resume monday
    """
    _print_changed("resumed", _controlled(lambda control: control.resume(names)), as_json)


@click.command(short_help="Try failed, incomplete and cancelled jobs again.")
@click.argument("names", nargs=-1, metavar="[ID...]")
@click.option(
    "--failed", is_flag=True, help="All that failed or are incomplete; with the name of a batch, of that one."
)
@options.as_json
def retry(names: tuple[str, ...], failed: bool, as_json: bool) -> None:
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
        queued = _controlled(lambda control: control.retry_failed(names[0] if names else None))
    else:
        queued = _controlled(lambda control: control.retry(names))
    _print_changed("queued", queued, as_json)


def _controlled(steer: Callable[[Control], Awaitable[list[str]]]) -> list[str]:
    """Run one step against the Redis of the settings; the ids of the jobs it changed."""

    async def run() -> list[str]:
        producer = Producer(options.settings_from())
        try:
            await producer.ledger.check_schema()
            return await steer(Control(producer))
        finally:
            await producer.close()

    return asyncio.run(run())


def _print_changed(word: str, job_ids: Sequence[str], as_json: bool) -> None:
    if as_json:
        echo_json({word: list(job_ids)})
        return
    for job_id in job_ids:
        echo(f"{job_id}  {word}")
    echo(f"{len(job_ids)} jobs {word}")
