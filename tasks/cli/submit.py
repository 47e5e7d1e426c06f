"""The command `stt-batch submit`, which adds files to the queue of running workers."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from tasks.batches.number_format import format_count
from tasks.cli import options
from tasks.cli.plan import print_plan
from tasks.cli.sources import find_recordings
from tasks.cli.sources.expand_arguments import sources
from tasks.cli.sources.find_recordings import LeftOutFile
from tasks.cli.sources.output_names import NamedSource, name_outputs
from tasks.cli.terminal_output import echo, echo_json
from tasks.client.producer import Producer, make_spec, new_batch_id
from tasks.job_spec import JobSpec
from worker.ledger.ledger import StateChange
from worker.ledger.waiting import NO_WORKER
from worker.settings import Settings
from worker.storage.address import Address, is_url, parse

T = TypeVar("T")
AT_ONCE: Final = 5000
"""Maximum number of jobs that are in memory and queued together."""


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
    planned, jobs, passed_over, no_worker = asyncio.run(_submit(settings, paths, out, fields, force, hook))
    if as_json:
        found_jobs = [
            {"id": job.job_id, "source": item.source.shown, "before": job.before}
            for job, item in zip(jobs, planned, strict=True)
        ]
        left_out = find_recordings.as_documents(passed_over)
        echo_json({"batch": name, "jobs": found_jobs, "left_out": left_out, "worker_alive": not no_worker})
        return
    if quiet:
        return
    find_recordings.print_left_out(passed_over, everything=names_left_out)
    for job, item in zip(jobs, planned, strict=True):
        note = f"  ({_note(job, force=force)})" if job.before else ""
        echo(f"{job.job_id}  {item.source.shown}{note}")
    echo(f"{format_count(len(jobs), 'job')} in {name}; follow with: stt-batch status {shlex.quote(name)}")
    find_recordings.print_left_out_count(passed_over, everything=names_left_out)
    if no_worker and any(not job.state.ended for job in jobs):
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
) -> tuple[list[NamedSource], list[StateChange], list[LeftOutFile], bool]:
    # Include files that need the package extra `media`, because workers may have it installed. A worker without it
    # reports that it is missing.
    listing = await sources(paths, settings, media=True)
    folder = next((Path(folder) for folder in out if not is_url(folder)), Path("/"))
    planned = name_outputs(listing.found, folder, fields["formats"])
    producer = Producer(settings)
    try:
        if batch_webhook is not None:
            await producer.check_webhooks([batch_webhook])
        # Specs need several times the memory of a listing, so only some of them exist at a time. The first pass finds
        # every error before a job is queued.
        ids = [one for some in _parts(planned) for one in await _identities(producer, some, fields)]
        created: list[StateChange] = []
        for some, keys in zip(_parts(planned), _parts(ids), strict=True):
            jobs = [(key, _spec(item, fields)) for item, key in zip(some, keys, strict=True)]
            created += await producer.enqueue(jobs, batch=fields["batch"], force=force)
        if batch_webhook is not None:
            await producer.watch_batch(fields["batch"], batch_webhook)
        return planned, created, listing.left_out, (await producer.queue_view.read()).no_worker
    finally:
        await producer.close()


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[first : first + AT_ONCE] for first in range(0, len(items), AT_ONCE))


def _spec(item: NamedSource, fields: dict[str, Any]) -> JobSpec:
    return make_spec(item.source, **options.of_source({**fields, "out_name": item.out_name}, item.found.options))


async def _identities(producer: Producer, items: Sequence[NamedSource], fields: dict[str, Any]) -> list[str]:
    """Return the ids of the jobs, from a manifest or computed from the sources. Raises SourceError, and BadJob for
    invalid options and for a webhook that no worker can deliver."""
    specs = [_spec(item, fields) for item in items]
    await producer.check_webhooks({spec.webhook for spec in specs if spec.webhook is not None})
    keyless = [spec for spec, item in zip(specs, items, strict=True) if item.found.id is None]
    read = iter(await producer.identify_many(keyless))
    return [next(read) if item.found.id is None else item.found.id for item in items]
