"""The command `stt-batch apply`, which adds corrections from a transcript page to the JSON transcripts of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from tasks.batches.transcript_files import read_transcript, transcripts_below
from tasks.cli import options
from tasks.cli.terminal_output import echo, echo_error, echo_json
from worker.errors import BadRevision, RevisionConflict, SttError
from worker.settings import Settings
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.formats import FORMATS
from worker.transcript.model import Transcript
from worker.transcript.revisions import RevisionFile, read_revision_file, with_revisions
from worker.transcript.subtitles.style import Style


@dataclass(frozen=True, slots=True)
class Applied:
    """The result for one transcript."""

    edits: Path
    transcript: Path
    revisions: int
    """Number of added revisions; 0 if the transcript already had all of them."""
    segments: int
    """Number of changed segments."""
    written: tuple[Path, ...]


@click.command(short_help="Add corrections from a transcript page to the JSON transcripts.")
@click.argument("edits", nargs=-1, required=True, metavar="EDITS...", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("target", metavar="DIR|FILE", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--format",
    "-f",
    "formats",
    type=options.FormatsType(),
    metavar="LIST",
    help="Files to write in addition to the JSON; default: the formats that exist in its folder.",
)
@options.style
@click.option(
    "--force", is_flag=True, help="Apply the corrections even if another person has corrected the transcript since."
)
@click.option("--dry-run", is_flag=True, help="Only check the corrections and change nothing.")
@options.as_json
@click.pass_context
def command(
    ctx: click.Context,
    /,
    edits: tuple[Path, ...],
    target: Path,
    formats: tuple[str, ...] | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Add the corrections in EDITS, files that a transcript page saved, to their JSON transcripts below DIR.

    The JSON keeps its original text; the corrections are added to `revisions`. The other files of the transcript, such
    as subtitles and the page, are written again with the corrections. The options below apply to them, so repeat the
    options with which they were made. Corrections that a transcript already has are left out.

    \b
    Examples:
      stt-batch apply news.edits.json transcripts/
      stt-batch apply *.edits.json transcripts/ --script hk
    """
    style, settings = options.style_from(given), options.settings_from()
    applied: list[Applied] = []
    failed: dict[str, str] = {}
    for path in edits:
        try:
            applied += [
                apply(path, one, formats, style, settings, force=force, dry_run=dry_run)
                for one in _matches(path, target)
            ]
        except SttError as exc:
            failed[str(path)] = str(exc)
    if as_json:
        echo_json({"applied": [_shown(one) for one in applied], "failed": failed})
    else:
        for one in applied:
            echo(_line(one, dry_run=dry_run))
        for text in failed.values():
            echo_error(f"error: {text}")
    ctx.exit(1 if failed else 0)


def _matches(edits: Path, target: Path) -> list[tuple[Path, Transcript, RevisionFile]]:
    """Return the transcripts that a file with corrections belongs to. Raises BadRevision if there are none."""
    try:
        file = read_revision_file(edits.read_bytes(), str(edits))
    except OSError as exc:
        raise BadRevision(f"{edits}: cannot be read: {exc.strerror}") from None
    if target.is_dir():
        found = list(transcripts_below(target, file.job_id))
    else:
        one = read_transcript(target)
        if one is None:
            raise BadRevision(
                f"{target}: is not a JSON transcript; name the folder or the .json file of the transcript"
            )
        found = [(target, one)]
    same = [(path, transcript, file) for path, transcript in found if file.belongs_to(transcript)]
    if same:
        return same
    name = file.source_name or file.job_id
    if found:
        raise BadRevision(
            f"{edits}: belongs to another transcript than {found[0][0]}: the source or the run is not the same"
        )
    raise BadRevision(f"{edits}: {target} contains no JSON transcript of {name} (job {file.job_id})")


def apply(
    edits: Path,
    match: tuple[Path, Transcript, RevisionFile],
    formats: tuple[str, ...] | None,
    style: Style,
    settings: Settings,
    *,
    force: bool = False,
    dry_run: bool = False,
) -> Applied:
    """Add the corrections of a file to one transcript, and write its files. Raises BadRevision and OutputError."""
    path, transcript, file = match
    try:
        changed = with_revisions(transcript, file.revisions, base=file.base, force=force)
    except RevisionConflict as exc:
        raise RevisionConflict(f"{edits}: {exc}, or apply them over the newer ones with --force") from None
    except BadRevision as exc:
        raise BadRevision(f"{edits}: {exc}") from None
    added = changed.revisions[len(transcript.revisions) :]
    segments = len({change.segment for revision in added for change in revision.changes})
    written: tuple[Path, ...] = ()
    if not dry_run and (added or formats):
        beside = tuple(fmt for fmt in FORMATS if fmt != "json" and path.with_suffix(f".{fmt}").is_file())
        chosen = tuple(dict.fromkeys((*(formats or beside), "json")))
        # The JSON keeps its original characters, whatever the options of the other files are.
        others = tuple(fmt for fmt in chosen if fmt != "json")
        written = write(
            changed, LocalOutputs(path.parent, path.stem, others, style, absolute_paths=settings.absolute_paths)
        )
        written += write(changed, LocalOutputs(path.parent, path.stem, ("json",)))
    return Applied(edits, path, len(added), segments, written)


def _shown(one: Applied) -> dict[str, Any]:
    return {
        "edits": str(one.edits),
        "transcript": str(one.transcript),
        "revisions": one.revisions,
        "segments": one.segments,
        "written": [str(path) for path in one.written],
    }


def _line(one: Applied, *, dry_run: bool) -> str:
    if not one.revisions:
        return f"unchanged  {one.transcript}: already has these corrections"
    segments = "1 segment" if one.segments == 1 else f"{one.segments} segments"
    names = ", ".join(path.suffix.removeprefix(".") for path in one.written)
    return (
        f"{'would apply' if dry_run else 'applied'}  {one.transcript}: {segments}{f'; wrote {names}' if names else ''}"
    )
