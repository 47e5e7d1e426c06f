"""The command `stt-batch export`, which writes existing transcripts in other formats or to another place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from tasks.batches.number_format import format_count
from tasks.batches.summary import BatchSummary, without_source
from tasks.batches.summary_files import write_summary
from tasks.batches.transcript_files import read_transcript, transcripts_below
from tasks.cli import options
from tasks.cli.argument_completion import complete_files
from tasks.cli.status import find_batch
from tasks.cli.terminal_output import echo, echo_json
from tasks.job_spec import JobSpec, recorded
from worker.errors import BadJob, JobNewer, OutputError
from worker.ledger.ledger import Ledger
from worker.settings import Settings
from worker.storage.address import Address, from_path, is_url, parse
from worker.storage.outputs.deliver import deliver
from worker.transcript.model import Transcript
from worker.transcript.subtitles.style import Style


@click.command(short_help="Write finished transcripts in other formats or to another place.")
@click.argument("name", metavar="BATCH|DIR", shell_complete=complete_files)
@click.option("--out", "-o", required=True, metavar="DIR", help="Folder for the files, or s3://, gs://, az://.")
@options.formats
@options.style
@options.as_json
@click.pass_context
def command(ctx: click.Context, /, name: str, out: str, formats: tuple[str, ...], as_json: bool, **given: Any) -> None:
    """Write existing transcripts again: those of a batch in Redis (STT_REDIS_URL), or of a folder with JSON
    transcripts.

    No audio is transcribed. Transcripts that have expired in Redis are read from the JSON files of their jobs, if this
    machine can read them. Corrections that people made on the transcript pages are in all formats; the JSON also keeps
    the original. The summary of a batch is written next to its transcripts, as JSON and as an HTML page.

    \b
    Examples:
      stt-batch export monday --format srt,html --out subtitles
      stt-batch export transcripts/ --format TextGrid --out praat
    """
    style = options.style_from(given)
    place = parse(out) if is_url(out) else from_path(Path(out).absolute())
    export = Export(options.settings_from(), place, formats, style)
    asyncio.run(export.folder(Path(name)) if Path(name).is_dir() else export.batch(name))
    if as_json:
        facts = {"out": out, "written": export.written, "left_out": export.left_out}
        echo_json(facts)
    else:
        for source, why in export.left_out.items():
            echo(f"left out  {source}: {without_source(why, source)}")
        echo(f"{format_count(export.count, 'transcript')} written to {out}, {len(export.left_out)} left out")
    ctx.exit(1 if export.left_out else 0)


@dataclass(slots=True)
class Export:
    """Writes transcripts to one folder or object store, and records which transcripts were written and which were
    skipped."""

    settings: Settings
    out: Address
    formats: tuple[str, ...]
    style: Style
    written: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    """The reason why no transcript was written, by job id, source or file."""
    count: int = 0
    _names: set[str] = field(default_factory=set)

    async def folder(self, folder: Path) -> None:
        """Write every JSON transcript below a folder; other JSON files are ignored. Raises BadJob if there is none."""
        for path, transcript in transcripts_below(folder):
            place = path.relative_to(folder).with_suffix("")
            await self._write(transcript, place.as_posix(), str(path))
        if not self.count and not self.left_out:
            raise BadJob(f"{folder}: contains no JSON transcripts")

    async def batch(self, name: str) -> None:
        """Write the transcripts and the summary of a batch in Redis. Raises BadJob if there is no such batch."""
        ledger = Ledger(self.settings)
        try:
            batch = await find_batch(ledger, await ledger.id_search.complete(name))
            async for identity, spec, transcript in self._transcripts(ledger, batch.summary):
                # Jobs with different output folders may have the same name; the job id then makes the name unique.
                known = spec.output_name.casefold() in self._names
                await self._write(transcript, f"{spec.output_name}.{identity}" if known else spec.output_name, identity)
        finally:
            await ledger.close()
        if self.out.is_file:
            write_summary(batch.summary, self.out.path, self._names, absolute_paths=self.settings.absolute_paths)

    async def _transcripts(
        self, ledger: Ledger, summary: BatchSummary
    ) -> AsyncIterator[tuple[str, JobSpec, Transcript]]:
        for job in summary.jobs:
            record = await ledger.get(job.id or "")
            if record is None:
                continue
            try:
                spec = recorded(record.spec)
            except JobNewer as exc:
                self.left_out[job.source] = str(exc)
                continue
            document = await ledger.transcript(record.id)
            if document is not None:
                yield record.id, spec, Transcript.model_validate_json(document)
                continue
            paths = [Path(path) for path in record.outputs if path.endswith(".json") and not is_url(path)]
            found = next((read for path in paths if (read := read_transcript(path)) is not None), None)
            if found is not None:
                yield record.id, spec, found
            else:
                why = job.error or (f"is {job.state}" if not job.state.ended else "its transcript has expired")
                self.left_out[job.source] = why

    async def _write(self, transcript: Transcript, name: str, what: str) -> None:
        self._names.add(name.casefold())
        try:
            self.written += await deliver(transcript, [self.out], name, self.formats, self.settings, style=self.style)
            self.count += 1
        except OutputError as exc:
            self.left_out[what] = str(exc)
