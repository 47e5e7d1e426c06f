"""The command `stt-batch submit`, which adds files to the queue of running workers."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.plan import print_plan
from tasks.cli.sources import find_recordings
from tasks.cli.sources.expand_arguments import sources
from tasks.cli.sources.find_recordings import LeftOutFile
from tasks.cli.sources.output_names import name_outputs
from tasks.cli.submission import Submission
from tasks.cli.terminal_output import echo, echo_json_list
from tasks.client.producer import Producer, new_batch_id
from worker.ledger.ledger import StateChange
from worker.ledger.waiting import NO_WORKER
from worker.settings import Settings
from worker.storage.address import Address, is_url, parse


@click.command(short_help="Queue files, folders, manifests and addresses for running workers.")
@options.paths
@click.option(
    "--out",
    "-o",
    multiple=True,
    metavar="DIR",
    help="Folder for the transcripts, as a path on the workers, or s3://, gs://, az://; may be given several times."
    " Default: transcripts are stored in Redis only.",
)
@options.formats
@options.style
@options.language
@options.glossary
@options.session_options
@click.option(
    "--speed",
    type=options.SpeedType(),
    metavar="SPEED",
    help="Speed at which a session sends audio, such as 2x; default: the setting of the worker.",
)
@options.parallel_sections
@options.channels
@options.skip_silence
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="Jobs of a higher priority run first; within one priority the batches run in rotation.",
)
@click.option("--batch", metavar="NAME", help="Name of the batch; default: a new name.")
@click.option("--webhook", metavar="URL", help="Web address that is notified when each job ends.")
@click.option("--batch-webhook", metavar="URL", help="Web address that is notified when the whole batch has ended.")
@options.retain
@options.force
@options.left_out
@options.dry_run
@options.verbosity
@options.as_json
@click.pass_context
def command(
    ctx: click.Context,
    /,
    paths: tuple[str, ...],
    out: tuple[str, ...],
    force: bool,
    names_left_out: bool,
    dry_run: bool,
    quiet: bool,
    verbose: bool,
    as_json: bool,
    batch: str | None,
    batch_webhook: str | None,
    **given: Any,
) -> None:
    """Queue audio in Redis (STT_REDIS_URL) and return. Workers (`stt-batch worker`) transcribe it.

    PATH is a file, a folder, a pattern, a manifest (.csv or .jsonl with source, id and options), or an address:
    s3://, gs://, az://, https://. The workers read files under the same absolute paths. Finished jobs are not repeated.

    \b
    Examples:
      stt-batch submit calls/ --out /results --format json,srt
      stt-batch submit 's3://bucket/calls/**' --out s3://bucket/transcripts --batch monday
      stt-batch submit list.csv --out /results
      stt-batch submit a.wav --json | jq -r .batch
    """
    channels = options.channels_from(given)
    given |= {"style": options.style_from(given), **channels}
    settings = options.settings_from()
    given |= options.glossary_from(given.pop("glossary_file"), settings)
    given |= options.session_options_from(given)
    names_left_out = names_left_out or verbose
    if dry_run:
        ctx.exit(print_plan(paths, settings, channels, names_left_out=names_left_out, as_json=as_json))
    name = batch or new_batch_id()
    fields = {**given, "out_dir": out[0] if len(out) == 1 else out or None, "batch": name}
    hook = None if batch_webhook is None else parse(batch_webhook)
    submission, count, passed_over, no_worker = asyncio.run(_submit(settings, paths, out, fields, force, hook))
    if as_json:
        left_out = find_recordings.as_documents(passed_over)
        document = {"batch": name, "jobs": [], "left_out": left_out, "worker_alive": not no_worker}
        echo_json_list(
            document,
            "jobs",
            (
                {"id": job.job_id, "source": item.source.shown, "before": job.before}
                for item, job in submission.results()
            ),
        )
        return
    if quiet:
        return
    find_recordings.print_left_out(passed_over, everything=names_left_out)
    for item, job in submission.results():
        note = f"  ({_note(job, force=force)})" if job.before else ""
        echo(f"{job.job_id}  {item.source.shown}{note}")
    echo(f"{format_count(count, 'job')} in {name}; follow with: stt-batch status {shlex.quote(name)}")
    find_recordings.print_left_out_count(passed_over, everything=names_left_out)
    if no_worker and not submission.all_ended:
        echo(NO_WORKER, err=True)


def _note(job: StateChange, *, force: bool) -> str:
    """Describe a job that existed before."""
    if job.before is None or not job.before.ended or job.state.ended:
        return f"already {job.before}"
    return f"again, was {job.before}{'; its files will be replaced' if force else ''}"


async def _submit(
    settings: Settings,
    paths: Sequence[str],
    out: Sequence[str],
    fields: dict[str, Any],
    force: bool,
    batch_webhook: Address | None,
) -> tuple[Submission, int, list[LeftOutFile], bool]:
    """Queue the jobs. Returns them, their number, the files that are left out, and whether no worker is alive."""
    # Include files that need the package extra `media`, because workers may have it installed. A worker without it
    # reports that it is missing.
    listing = await sources(paths, settings, media=True)
    folder = next((Path(folder) for folder in out if not is_url(folder)), Path("/"))
    name_outputs(listing.found, folder, fields["formats"])
    producer = Producer(settings)
    try:
        if batch_webhook is not None:
            await producer.check_webhooks([batch_webhook])
        submission = Submission(producer, listing.found, fields)
        await submission.identify()
        await submission.enqueue(batch=fields["batch"], force=force)
        if batch_webhook is not None:
            await producer.watch_batch(fields["batch"], batch_webhook)
        no_worker = (await producer.queue_view.read()).no_worker
        return submission, len(listing.found), listing.left_out, no_worker
    finally:
        await producer.close()
