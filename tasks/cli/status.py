"""`stt-batch status`: what became of jobs and batches."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.cli import options
from tasks.cli.follow import clock
from tasks.jobs import BatchStatus, JobStatus
from worker.errors import BadJob
from worker.settings import Settings
from worker.storage.ledger import Ledger

RECENT = 20


@click.command(short_help="Show jobs and batches.")
@click.argument("identity", metavar="[ID]", required=False)
@options.as_json
def command(identity: str | None, as_json: bool) -> None:
    """Show a job or a batch of the queue in Redis (STT_REDIS_URL); without ID the newest of both.

    \b
    Examples:
      stt-batch status
      stt-batch status batch-1a2b3c4d5e
      stt-batch status 8c0f3a --json
    """
    found = asyncio.run(_find(options.settings_from(), identity))
    if as_json:
        click.echo(json.dumps(_plain(found), ensure_ascii=False, indent=2))
        return
    console = Console(highlight=False)
    if isinstance(found, JobStatus):
        _show_job(console, found)
    elif isinstance(found, BatchStatus):
        _show_jobs(console, found.jobs)
        console.print(_counts(found), soft_wrap=True)
    else:
        _show_recent(console, *found)


Found = JobStatus | BatchStatus | tuple[list[JobStatus], list[BatchStatus]]


async def _find(settings: Settings, identity: str | None) -> Found:
    ledger = Ledger(settings)
    try:
        if identity is None:
            jobs = await ledger.get_many(await ledger.recent_jobs(RECENT))
            batches = [await _batch(ledger, name) for name in await ledger.recent_batches(RECENT)]
            return [JobStatus.of(job) for job in jobs if job], [batch for batch in batches if batch]
        record = await ledger.get(identity)
        if record is not None:
            return JobStatus.of(record)
        batch = await _batch(ledger, identity)
        if batch is None:
            raise BadJob(f"{identity}: no such job or batch in this Redis, or it has expired; see `stt-batch status`")
        return batch
    finally:
        await ledger.close()


async def _batch(ledger: Ledger, name: str) -> BatchStatus | None:
    ids = await ledger.batch(name)
    return BatchStatus.of(name, await ledger.get_many(ids)) if ids else None


def _plain(found: Found) -> Any:
    if isinstance(found, tuple):
        jobs, batches = found
        return {
            "jobs": [job.model_dump(mode="json") for job in jobs],
            "batches": [batch.model_dump(mode="json", exclude={"jobs"}) for batch in batches],
        }
    return found.model_dump(mode="json")


def _show_recent(console: Console, jobs: list[JobStatus], batches: list[BatchStatus]) -> None:
    if not jobs and not batches:
        console.print("no jobs yet")
        return
    _show_jobs(console, jobs)
    for batch in batches:
        console.print(_counts(batch), soft_wrap=True)


def _show_jobs(console: Console, jobs: list[JobStatus] | tuple[JobStatus, ...]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "state", "created", "audio", "source"):
        table.add_column(name, no_wrap=name != "source", overflow="fold")
    for job in jobs:
        created = datetime.fromtimestamp(job.created_at).astimezone().strftime("%m-%d %H:%M:%S")
        length = f"{clock(job.sent_s)}/{clock(job.duration_s)}" if not job.state.ended else clock(job.duration_s)
        end = f"{job.source}: {job.error}" if job.error and job.state.ended else job.source
        state = f"{job.state} (paused)" if job.paused else job.state.value
        table.add_row(job.id, state, created, length, escape(end))
    console.print(table)


def _show_job(console: Console, job: JobStatus) -> None:
    for name, value in job.model_dump(mode="json").items():
        if value in (None, "", [], False):
            continue
        if name.endswith("_at"):
            text = datetime.fromtimestamp(value).astimezone().isoformat(timespec="seconds")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        console.print(f"{name:12} {escape(text)}", soft_wrap=True)


def _counts(batch: BatchStatus) -> str:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(batch.counts.items()))
    return f"[bold]{escape(batch.id)}[/]: {batch.total} jobs: {counts}"
