"""The commands `stt-batch status` and `stt-batch list`, which show jobs and batches."""

from __future__ import annotations

import asyncio
import shlex
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from tasks.batches.number_format import format_count, format_duration, format_speed
from tasks.batches.summary import BatchSummary, JobLine, review_texts, summarize, without_source
from tasks.cli import options
from tasks.cli.tables import display_path, show_table
from tasks.cli.terminal_output import echo, echo_json, safe
from tasks.cli.text_width import middle
from tasks.cli.worker_lines import count_reasons, print_workers, state_text, waiting_lines, workers_json
from tasks.job_spec import BatchStatus, JobState, JobStatus
from worker.errors import BadJob
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import paused_text
from worker.ledger.ledger import Ledger
from worker.ledger.waiting import QueueView, QueueViewReader
from worker.settings import Settings
from worker.text_escaping import printable

if TYPE_CHECKING:
    from tasks.cli.live_status.snapshot import Snapshot

RECENT = 20
MAX_REASONS: Final = 20


@click.command(short_help="Show jobs and batches.")
@click.argument("identity", metavar="[ID]", required=False)
@click.option("--watch", is_flag=True, help="Fill the terminal with the state, and update it until the work has ended.")
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Show the `stt-batch run` that writes to this folder, in place of the queue in Redis.",
)
@click.option("--jobs/--no-jobs", "with_jobs", default=True, help="List the jobs of a batch.")
@options.as_json
def command(identity: str | None, watch: bool, out: Path | None, with_jobs: bool, as_json: bool) -> None:
    """Show a job or a batch of the queue in Redis (STT_REDIS_URL). Without ID: the newest jobs and batches. ID may be
    the beginning of an id, if no other id begins so.

    For a batch: the number of jobs in each state, the speed as a factor of real time, the remaining time at that speed,
    and the failures by reason. --watch shows batches, workers, the running files with their last words, and failures;
    `q` closes it. With --watch and --json: one line of JSON per update. With --watch and --out: if no run writes to the
    folder yet, wait for it.

    \b
    Examples:
      stt-batch status
      stt-batch status --watch
      stt-batch status monday --watch
      stt-batch status --watch --out transcripts
      stt-batch status 8c0f --json
    """
    settings = options.settings_from()
    if out is not None:
        from tasks.embedded.running_stack import settings_of_run, wait_for_run  # noqa: PLC0415  only for this option

        def on_wait(reason: str) -> None:
            echo(f"{reason}. Waiting for a run; Ctrl-C ends the wait.", err=True)

        settings = asyncio.run(wait_for_run(settings, out, on_wait) if watch else settings_of_run(settings, out))
    if watch:
        from tasks.cli.live_status.follow import follow  # noqa: PLC0415  only for this option
        from tasks.cli.live_status.reading import Target  # noqa: PLC0415

        name = identity or ("the queue" if out is None else f"run to {display_path(out)}")
        target = Target(name, identity, run=out is not None)
        document = partial(_watched_json, one=identity is not None or out is not None) if as_json else None
        asyncio.run(follow(settings, target, lines=_watched_lines, document=document))
        return
    found, view = asyncio.run(_find(settings, identity))
    if as_json:
        document = _plain(found, with_jobs)
        echo_json({**document, **workers_json(view)} if identity is None else document)
        return
    console = Console(highlight=False)
    for key in view.paused_keys:
        console.print(f"[yellow]{safe(paused_text(key))}[/]", soft_wrap=True)
    if isinstance(found, JobStatus):
        _show_job(console, found)
    elif isinstance(found, BatchReport):
        if with_jobs:
            _show_jobs(console, found.status.jobs)
        for line in (*batch_lines(found.summary), *waiting_lines(found.status.jobs)):
            console.print(line, soft_wrap=True)
    else:
        _show_recent(console, *found)
    if identity is None or not _has_ended(found):
        print_workers(console, view, always=identity is None)


def _has_ended(found: StatusResult) -> bool:
    if isinstance(found, JobStatus):
        return found.state.ended
    return isinstance(found, BatchReport) and found.status.ended


def _watched_lines(shot: Snapshot) -> list[str]:
    """Format a snapshot of the live view for files and pipes."""
    if len(shot.batches) == 1:
        return batch_lines(shot.batches[0])
    counts = f"{shot.running} running, {shot.waiting} waiting"
    return [counts, *(batch_lines(batch)[0] for batch in shot.batches)]


def _watched_json(shot: Snapshot, *, one: bool) -> dict[str, Any]:
    """Convert a snapshot to JSON. `one`: it is that of one batch, job or run, and not of the queue."""
    batches = [summary_json(batch, with_jobs=False) for batch in shot.batches]
    if one and batches:
        return batches[0]
    return {"running": shot.running, "waiting": shot.waiting, "notices": list(shot.notices), "batches": batches}


@dataclass(frozen=True, slots=True)
class BatchReport:
    status: BatchStatus
    summary: BatchSummary


StatusResult = JobStatus | BatchReport | tuple[list[JobStatus], list[BatchReport]]


async def _find(settings: Settings, identity: str | None) -> tuple[StatusResult, QueueView]:
    ledger, connection = Ledger(settings), RedisConnection(settings.redis_url)
    reader = QueueViewReader(settings, connection)
    try:
        if identity is None:
            jobs = await ledger.get_many(await ledger.recent_jobs(RECENT))
            batches = await _recent_batches(ledger, reader, RECENT)
            view = await reader.read(jobs)
            return ([JobStatus.of(job, view.waiting(job)) for job in jobs if job], batches), view
        identity = await ledger.id_search.complete(identity)
        record = await ledger.get(identity)
        view = await reader.read([record])
        if record is None:
            return await find_batch(ledger, identity, reader), view
        return JobStatus.of(record, view.waiting(record)), view
    finally:
        await ledger.close()
        await connection.close()


async def find_batch(ledger: Ledger, name: str, reader: QueueViewReader | None = None) -> BatchReport:
    """Read the batch with this name from the ledger. With `reader`, also read why its jobs wait. Raises BadJob if there
    is no such batch."""
    ids = await ledger.batch(name)
    if not ids:
        raise BadJob(f"{name}: no such job or batch in this Redis, or it has expired; see `stt-batch list`")
    records = await ledger.get_many(ids)
    lines = [JobLine.of(record) for record in records if record is not None]
    view = QueueView() if reader is None else await reader.read(records)
    status = BatchStatus.of(name, records, (lambda _: None) if reader is None else view.waiting)
    return BatchReport(status, summarize(name, lines, now=time.time(), expired=records.count(None)))


async def _recent_batches(ledger: Ledger, reader: QueueViewReader, limit: int) -> list[BatchReport]:
    """Read the newest batches, without those that have expired."""
    found = []
    for name in await ledger.recent_batches(limit):
        with suppress(BadJob):
            found.append(await find_batch(ledger, name, reader))
    return [batch for batch in found if batch.status.jobs]


def _plain(found: StatusResult, with_jobs: bool) -> Any:
    if isinstance(found, tuple):
        jobs, batches = found
        return {
            "jobs": [job.model_dump(mode="json") for job in jobs],
            "batches": [batch_json(batch) for batch in batches],
        }
    if isinstance(found, JobStatus):
        return found.model_dump(mode="json")
    document = batch_json(found)
    if with_jobs:
        document["jobs"] = found.status.model_dump(mode="json")["jobs"]
    return document


def batch_json(batch: BatchReport) -> dict[str, Any]:
    """Return the summary of a batch as a JSON document, with the number of its waiting jobs for each reason."""
    return {**summary_json(batch.summary, with_jobs=False), "waiting": count_reasons(batch.status.jobs)}


def summary_json(summary: BatchSummary, *, with_jobs: bool) -> dict[str, Any]:
    """Convert the summary to a JSON document. In this document, the field for the name of the batch is `id`."""
    left_out = set() if with_jobs else {"jobs", "slowest"}
    return {"id": summary.name, **summary.model_dump(mode="json", exclude=left_out)}


def _show_recent(console: Console, jobs: list[JobStatus], batches: list[BatchReport]) -> None:
    if not jobs and not batches:
        console.print("no jobs yet")
        return
    _show_jobs(console, jobs)
    for batch in batches:
        console.print(batch_lines(batch.summary)[0], soft_wrap=True)


def _show_jobs(console: Console, jobs: list[JobStatus] | tuple[JobStatus, ...]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "state", "created", "audio", "source"):
        table.add_column(name, no_wrap=name != "source", overflow="fold")
    for job in jobs:
        created = datetime.fromtimestamp(job.created_at).astimezone().strftime("%m-%d %H:%M:%S")
        length = format_duration(job.duration_s or None)
        if not job.state.ended and job.sent_s:
            length = f"{format_duration(job.sent_s)}/{length}"
        notes = [*(f"needs review: {text}" for text in review_texts(job.quality)), *job.warnings]
        error = without_source(job.error, job.source) if job.error and job.state.ended else ""
        why = error or "; ".join(notes)
        # On a terminal, a long path would take ten rows. `status ID`, --json, files and pipes have the whole path.
        source = middle(printable(job.source), max(30, console.width // 2)) if console.is_terminal else job.source
        end = f"{source}: {why}" if why else source
        state = state_text(job)
        table.add_row(job.id, state, created, length, safe(end))
    show_table(console, table)


def _show_job(console: Console, job: JobStatus) -> None:
    for name, value in job.model_dump(mode="json").items():
        if value in (None, "", [], False):
            continue
        if name == "quality":
            _show_quality(console, value)
            continue
        if name.endswith("_at"):
            text = datetime.fromtimestamp(value).astimezone().isoformat(timespec="seconds")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        console.print(f"{name:12} {safe(text)}", soft_wrap=True)


def _show_quality(console: Console, quality: dict[str, Any]) -> None:
    figures = ", ".join(
        f"{name} {value}" for name, value in quality.items() if isinstance(value, float) and value is not None
    )
    console.print(f"{'quality':12} {figures or 'no figures'}", soft_wrap=True)
    for reason in quality["reasons"]:
        console.print(f"{'review':12} [yellow]{safe(reason['text'])}[/]", soft_wrap=True)


def batch_lines(summary: BatchSummary) -> list[str]:
    """Format the summary of a batch as lines of Rich markup."""
    counts = ", ".join(f"{count} {state}" for state, count in sorted(summary.counts.items()))
    parts = [f"[bold]{safe(summary.name)}[/]: {format_count(summary.total, 'job')}: {counts}"]
    if summary.state == "paused":
        parts.append("paused")
    if summary.expired:
        parts.append(f"{summary.expired} expired")
    if summary.needs_review:
        parts.append(f"[yellow]{summary.needs_review} need review[/]")
    if summary.speed is not None:
        elapsed = format_duration(summary.elapsed_s)
        parts.append(f"{format_duration(summary.done_s)} of audio in {elapsed} ({format_speed(summary.speed)})")
    if summary.left_s is not None:
        parts.append(f"{format_duration(summary.left_s)} left")
    lines = [", ".join(parts)]
    for group in summary.failures[:MAX_REASONS]:
        example = "" if group.count > 1 else f"  ({safe(group.sources[0])})"
        lines.append(f"  [red]{group.count:>5}[/]  {safe(group.reason)}{example}")
    if len(summary.failures) > MAX_REASONS:
        lines.append(f"  and {len(summary.failures) - MAX_REASONS} other reasons: see --json")
    if summary.failures and summary.state in ("failed", "done"):
        # With `--failed`, cancelled jobs are not retried together with failed ones.
        only = "" if set(summary.counts) <= {JobState.DONE, JobState.CANCELLED} else "--failed "
        lines.append(f"to run them again: stt-batch retry {only}{safe(shlex.quote(summary.name))}")
    return lines


@click.command("list", short_help="List the newest batches.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of batches.")
@options.as_json
def list_(limit: int, as_json: bool) -> None:
    """List the batches in Redis (STT_REDIS_URL), newest first, with their jobs by state, speed and remaining time.

    \b
    Examples:
      stt-batch list
      stt-batch list --limit 100 --json
    """
    found, view = asyncio.run(_newest(options.settings_from(), limit))
    if as_json:
        echo_json({"batches": [batch_json(batch) for batch in found], **workers_json(view)})
        return
    console = Console(highlight=False)
    if not found:
        console.print("no batches yet")
    for batch in found:
        for line in (batch_lines(batch.summary)[0], *waiting_lines(batch.status.jobs)):
            console.print(line, soft_wrap=True)
    print_workers(console, view, always=any(not batch.status.ended for batch in found))


async def _newest(settings: Settings, limit: int) -> tuple[list[BatchReport], QueueView]:
    ledger, connection = Ledger(settings), RedisConnection(settings.redis_url)
    reader = QueueViewReader(settings, connection)
    try:
        return await _recent_batches(ledger, reader, limit), await reader.read()
    finally:
        await ledger.close()
        await connection.close()
