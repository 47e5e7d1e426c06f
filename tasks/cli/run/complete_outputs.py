"""Writes missing output files from transcripts that exist, so that no audio is streamed again for them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from tasks.batches.transcript_files import read_transcript
from tasks.cli.sources.existing_outputs import document_of, is_written, modified_at
from tasks.job_spec import FORMATS, JobSpec, job_id
from worker.settings import Settings
from worker.transcript.model import Transcript

if TYPE_CHECKING:
    from worker.ledger.ledger import Ledger

MAX_PERMUTED_FORMATS: Final = 5
"""Maximum number of formats that are tried in all orders, which takes 261 job ids and 5 ms."""


async def complete_outputs(
    spec: JobSpec, identity: str, content: str, scope: str, settings: Settings, *, ours: bool | None
) -> bool:
    """Write the files of a job from its JSON transcript, if some are missing or the transcript was written for other
    formats. Returns whether files were written. Raises OutputError.

    `identity`, `content`, `scope`: id of the job, and the values from which it was computed (see `job_id`). `ours`:
    whether this job was the last one that wrote files of this name. Another job may have replaced some of them. If this
    is not known (None), nothing is written if a file is newer than the JSON transcript."""
    if ours is None and await asyncio.to_thread(_has_newer_file, dict(_places(spec))):
        return False
    transcript = await asyncio.to_thread(_transcript, spec, identity, content, scope)
    if transcript is None:
        return False
    written = spec.formats
    if transcript.job_id == identity and ours is not False:
        # Existing files of this job stay unchanged. JSON is written last, which shows that all files are complete.
        written = ("json", *await asyncio.to_thread(_missing, dict(_places(spec))))
    await _write(transcript.model_copy(update={"job_id": identity}), spec, written, settings)
    return True


async def write_stored(ledger: Ledger, spec: JobSpec, identity: str, settings: Settings) -> bool:
    """Write all files of a finished job from the transcript in the ledger. Returns False if it has expired. Raises
    OutputError."""
    text = await ledger.transcript(identity)
    try:
        transcript = Transcript.model_validate_json(text or "")
    except ValidationError:
        return False
    if not transcript.coverage.complete:
        return False
    await _write(transcript, spec, spec.formats, settings)
    return True


async def _write(transcript: Transcript, spec: JobSpec, formats: Sequence[str], settings: Settings) -> None:
    from worker.storage.outputs.deliver import deliver  # noqa: PLC0415  slow to import, and seldom needed

    await deliver(transcript, spec.out_dirs, spec.output_name, formats, settings, style=spec.style)


def _transcript(spec: JobSpec, identity: str, content: str, scope: str) -> Transcript | None:
    """Return the complete JSON transcript of the same audio and options, or None if there is none or no file is
    missing."""
    places = dict(_places(spec))
    if "json" not in places or len(places) != len(spec.outputs()):
        return None
    if document_of(spec, identity) is not None and not _missing(places):
        return None
    transcript = read_transcript(Path(places["json"]))
    if transcript is None or not transcript.coverage.complete:
        return None
    if transcript.job_id == identity:
        return transcript
    # The id is a hash of the content and of all options that change the text, so an equal id proves equal ones.
    ids = (job_id(spec.model_copy(update={"formats": given}), content, scope=scope) for given in _format_lists(spec))
    return transcript if transcript.job_id in ids else None


def _format_lists(spec: JobSpec) -> Iterator[tuple[str, ...]]:
    """Yield the lists of formats for which the existing JSON transcript may have been written."""
    folder, *_ = spec.out_dirs
    others = (fmt for fmt in FORMATS if is_written(folder.below(f"{spec.output_name}.{fmt}").text))
    known = tuple(dict.fromkeys((*spec.formats, *others)))
    for count in range(1, len(known) + 1):
        for given in combinations(known, count):
            if "json" in given:
                yield from permutations(given) if len(known) <= MAX_PERMUTED_FORMATS else (given,)


def _has_newer_file(places: Mapping[str, str]) -> bool:
    written_at = modified_at(places.get("json", ""))
    times = [modified_at(path) for path in places.values()]
    return any(time is not None and (written_at is None or time > written_at) for time in times)


def _missing(places: Mapping[str, str]) -> list[str]:
    """Return the formats, except JSON, whose files do not exist or were emptied after the job had written them."""
    ended_at = modified_at(places["json"])
    return [fmt for fmt, path in places.items() if fmt != "json" and not is_written(path, ended_at)]


def _places(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Yield the path of each local file with its format."""
    for place in spec.outputs():
        if place.is_file:
            yield place.text.rpartition(".")[2], place.text
