"""Transcripts that lie in their folders already, though the ledger may not know that they are done."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tasks.job_spec import JobSpec
from worker.transcript.model import Transcript

_ID_IN_JSON: Final = re.compile(rb'"job_id":\s*"([^"]*)"')
_HEAD_BYTES: Final = 4096


def all_there(spec: JobSpec) -> bool:
    """Whether all files of a job exist, as far as they are files here."""
    return all(path.exists() for path in _local(spec))


def document_of(spec: JobSpec, identity: str) -> Path | None:
    """The JSON of this job if all its files exist, so that it is done: JSON is written last. Returns None if they
    are not, or are another job's, or no JSON was asked for."""
    documents = [path for path in _local(spec) if path.suffix == ".json"]
    if not documents or not all_there(spec):
        return None
    try:
        with documents[0].open("rb") as file:
            found = _ID_IN_JSON.search(file.read(_HEAD_BYTES))
    except OSError:  # then it is written again
        return None
    return documents[0] if found is not None and found[1].decode() == identity else None


def finished_transcript(spec: JobSpec, identity: str) -> Transcript | None:
    """The same, read: where nothing is missing in it."""
    document = document_of(spec, identity)
    if document is None:
        return None
    try:
        transcript = Transcript.model_validate_json(document.read_bytes())
    except (OSError, ValidationError):
        return None
    return transcript if transcript.coverage.complete and transcript.job_id == identity else None


def _local(spec: JobSpec) -> Sequence[Path]:
    return [address.path for address in spec.outputs() if address.is_file]
