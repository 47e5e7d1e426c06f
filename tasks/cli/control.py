"""The commands `stt-batch cancel`, `pause`, `resume` and `retry`, which control jobs and batches in the queue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

import click

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_json
from tasks.client.control import Control
from tasks.client.producer import Producer
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import KeyState, resume_keys


@click.command(short_help="Cancel jobs and batches.")
@options.names
@options.as_json
def cancel(names: tuple[str, ...], as_json: bool) -> None:
    """Cancel waiting and running jobs, or all such jobs of batches, in the queue in Redis (STT_REDIS_URL).

    A running job stops within two seconds. Its committed text is preserved, and `stt-batch retry` continues after it.

    \b
    Examples:
      stt-batch cancel 8c0f3a
      stt-batch cancel monday
    """
    _print_changed("cancelled", _controlled(lambda control, ids: control.cancel(ids), names), as_json)


@click.command(short_help="Pause jobs and batches.")
@options.names
@options.as_json
def pause(names: tuple[str, ...], as_json: bool) -> None:
    """Pause jobs or batches until `stt-batch resume`. Running jobs stop within two seconds and continue later after
    their committed text. Jobs that are added to a paused batch wait as well.

    \b
    Examples:
      stt-batch pause monday
    """
    _print_changed("paused", _controlled(lambda control, ids: control.pause(ids), names), as_json)


@click.command(short_help="Resume paused jobs and batches, or a paused API key.")
@click.argument("names", nargs=-1, metavar="[ID...]")
@click.option("--key", is_flag=True, help="Try paused API keys at once, instead of at the time of their next probe.")
@options.as_json
def resume(names: tuple[str, ...], key: bool, as_json: bool) -> None:
    """Resume paused jobs or batches. They continue after their committed text.

    An API key that the service refuses pauses all its jobs. A worker tries one job at growing intervals. With --key, a
    worker tries at once: if that job succeeds, all others start.

    \b
    Examples:
      stt-batch resume monday
      stt-batch resume --key
    """
    if key == bool(names):
        both = ", not both: --key resumes every paused key" if key else ""
        raise click.UsageError(f"name jobs or batches, or give --key{both}")
    if key:
        _resume_keys(as_json)
        return
    _print_changed("resumed", _controlled(lambda control, ids: control.resume(ids), names), as_json)


@click.command(short_help="Run failed, incomplete and cancelled jobs again.")
@click.argument("names", nargs=-1, metavar="[ID...]")
@click.option("--failed", is_flag=True, help="All failed and incomplete jobs, or those of one batch if it is named.")
@options.as_json
def retry(names: tuple[str, ...], failed: bool, as_json: bool) -> None:
    """Queue failed, incomplete and cancelled jobs again, by their IDs or as whole batches.

    They continue after their committed text, unless an earlier part of the transcript is missing.

    \b
    Examples:
      stt-batch retry 8c0f3a
      stt-batch retry --failed monday
      stt-batch retry --failed
    """
    if not names and not failed:
        raise click.UsageError("name jobs or batches, or give --failed")
    if failed and len(names) > 1:
        raise click.UsageError("--failed takes at most one batch name")
    if failed:
        queued = _controlled(lambda control, ids: control.retry_failed(ids[0] if ids else None), names)
    else:
        queued = _controlled(lambda control, ids: control.retry(ids), names)
    _print_changed("queued", queued, as_json)


def _resume_keys(as_json: bool) -> None:
    async def run() -> list[KeyState]:
        settings = options.settings_from()
        connection = RedisConnection(settings.redis_url)
        try:
            return await resume_keys(settings, connection)
        finally:
            await connection.close()

    found = asyncio.run(run())
    if as_json:
        echo_json({"keys": [asdict(state) for state in found]})
        return
    for state in found:
        echo(f"{state.name}  will be tried at once: {state.reason}")
    if not found:
        echo("no API key is paused")


def _controlled(steer: Callable[[Control, Sequence[str]], Awaitable[list[str]]], names: Sequence[str]) -> list[str]:
    """Call `steer` with a Control for the Redis of the settings and with the ids that `names` are or begin. Returns the
    ids of the changed jobs."""

    async def run() -> list[str]:
        producer = Producer(options.settings_from())
        try:
            await producer.ledger.check_schema()
            ids = [await producer.ledger.id_search.complete(name) for name in names]
            return await steer(Control(producer), ids)
        finally:
            await producer.close()

    return asyncio.run(run())


def _print_changed(word: str, job_ids: Sequence[str], as_json: bool) -> None:
    if as_json:
        echo_json({word: list(job_ids)})
        return
    for job_id in job_ids:
        echo(f"{job_id}  {word}")
    echo(f"{format_count(len(job_ids), 'job')} {word}")
