"""The command `stt-batch delete`, which removes jobs with everything that they left behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import click

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_json
from tasks.client.control import Control
from tasks.client.producer import Producer
from tasks.job_spec import recorded
from worker.errors import JobNewer, OutputError, SourceRefused
from worker.ledger.connection import RedisConnection
from worker.ledger.deletion import DeletedJob, JobDeletion
from worker.ledger.persistence import rewrite_files
from worker.settings import Settings
from worker.storage.outputs.delete import delete_output


@dataclass(slots=True)
class _Result:
    jobs: list[DeletedJob] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


@click.command(short_help="Delete jobs with everything that they left behind.")
@options.names
@click.option("--outputs", is_flag=True, help="Also delete the transcript files of the jobs.")
@click.option(
    "--rewrite",
    is_flag=True,
    help="Also rewrite the files of Redis on disk, which contain deleted text until then.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation on a terminal.")
@options.as_json
def command(names: tuple[str, ...], outputs: bool, rewrite: bool, yes: bool, as_json: bool) -> None:
    """Delete jobs, or all jobs of batches, from the queue in Redis (STT_REDIS_URL): records, committed text,
    transcripts, events, webhooks that are not delivered, and uploads. Running jobs stop first.

    With --outputs, the files that the jobs wrote are deleted as well, as far as this machine has access to them and
    STT_ALLOWED_OUTPUTS permits. Sources are not deleted. Exit status 1 if a file could not be deleted.

    \b
    Examples:
      stt-batch delete 8c0f3a
      stt-batch delete monday --outputs --rewrite --yes
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {', '.join(names)}{' and the transcript files' if outputs else ''}?", abort=True)
    settings = options.settings_from()
    result = asyncio.run(_delete(settings, names, outputs=outputs, rewrite=rewrite))
    if as_json:
        ids = [job.id for job in result.jobs]
        echo_json({"deleted": ids, "files": result.files, "failures": result.failures})
    else:
        for job in result.jobs:
            echo(job.id)
        for reason in result.failures:
            echo(f"error: {reason}", err=True)
        files = f", {format_count(len(result.files), 'file')}" if outputs else ""
        echo(f"{format_count(len(result.jobs), 'job')}{files} deleted")
    raise SystemExit(1 if result.failures else 0)


async def _delete(settings: Settings, names: Sequence[str], *, outputs: bool, rewrite: bool) -> _Result:
    producer, connection = Producer(settings), RedisConnection(settings.redis_url)
    try:
        await producer.ledger.check_schema()
        ids = await Control(producer).jobs(names)
        result = _Result(await JobDeletion(settings, connection).delete(ids))
        if outputs:
            for job in result.jobs:
                await _delete_files(job, settings, result)
        if rewrite:
            await rewrite_files(connection)
        return result
    finally:
        await connection.close()
        await producer.close()


async def _delete_files(job: DeletedJob, settings: Settings, result: _Result) -> None:
    """Delete the files of a job. Only names that follow from its spec are deleted: the record alone could name any file
    of this machine."""
    try:
        spec = recorded(job.spec)
    except (JobNewer, SourceRefused) as exc:
        result.failures.append(f"job {job.id}: its files are not deleted: {exc}")
        return
    for output in spec.outputs():
        if output.text not in job.outputs and output.shown not in job.outputs:
            continue
        try:
            if await delete_output(output, settings):
                result.files.append(output.shown)
        except OutputError as exc:
            result.failures.append(str(exc))
