"""`stt-batch submit`: put files into the queue of running workers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click

from tasks.cli import options
from tasks.cli.files import Planned, find, name_outputs
from tasks.producer import Producer, make_spec, new_batch_id
from worker.settings import Settings
from worker.storage.ledger import Created


@click.command(short_help="Queue files and folders for running workers.")
@options.paths
@click.option(
    "--out",
    "-o",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for the transcripts, as the workers see it. Without it they are kept in Redis only.",
)
@options.formats
@options.style
@options.language
@click.option("--speed", type=options.SpeedType(), metavar="SPEED", help="Pace of a session; default: the worker's.")
@options.sessions
@options.skip_silence
@click.option(
    "--priority",
    type=click.Choice(["high", "normal", "low"]),
    default="normal",
    show_default=True,
    help="Which jobs go first; within one priority the batches take turns.",
)
@click.option("--batch", metavar="NAME", help="Name of the batch; default: a new one.")
@options.again
@options.as_json
def command(
    paths: tuple[Path, ...], out: Path | None, again: bool, as_json: bool, batch: str | None, **given: Any
) -> None:
    """Queue audio files in Redis (STT_REDIS_URL) and return; workers (`stt-batch worker`) transcribe them.

    The workers read the files under the same absolute paths. What was done before is not done again.

    \b
    Examples:
      stt-batch submit calls/ --out /results --format json,srt
      stt-batch submit a.wav --json | jq -r .batch
    """
    given["style"] = options.style_from(given)
    settings = options.settings_from()
    found, _ = find(paths)
    planned = name_outputs(found, out or Path("/"), given["formats"])
    name = batch or new_batch_id()
    jobs = asyncio.run(_submit(settings, planned, {**given, "out_dir": out, "batch": name}, again))
    if as_json:
        found_jobs = [
            {"id": job.job_id, "source": str(item.source), "before": job.before}
            for job, item in zip(jobs, planned, strict=True)
        ]
        click.echo(json.dumps({"batch": name, "jobs": found_jobs}, ensure_ascii=False, indent=2))
        return
    for job, item in zip(jobs, planned, strict=True):
        note = f"  (is {job.before} already)" if job.before else ""
        click.echo(f"{job.job_id}  {item.source}{note}")
    click.echo(f"{len(jobs)} jobs in {name}; follow them with: stt-batch status {name}")


async def _submit(settings: Settings, planned: list[Planned], fields: dict[str, Any], again: bool) -> list[Created]:
    producer = Producer(settings)
    try:
        specs = [make_spec(item.source, out_name=item.out_name, **fields) for item in planned]
        return await producer.submit_many(specs, batch=fields["batch"], again=again)
    finally:
        await producer.close()
