"""Finds transcripts that earlier runs wrote to the output folders, even if the ledger does not have their jobs."""

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
    """Whether all local output files of a job exist. Outputs in object stores are not checked."""
    return all(path.exists() for path in _local(spec))


def document_of(spec: JobSpec, identity: str) -> Path | None:
    """Return the path of the JSON transcript of a job if all files of the job exist. `identity`: id of the job. JSON is
    written last, so the job is done if the JSON exists. Returns None if a file is missing, if the JSON names another
    job, or if no JSON was requested."""
    documents = [path for path in _local(spec) if path.suffix == ".json"]
    if not documents or not all_there(spec):
        return None
    try:
        with documents[0].open("rb") as file:
            found = _ID_IN_JSON.search(file.read(_HEAD_BYTES))
    except OSError:  # count it as missing, so that the job writes it again
        return None
    return documents[0] if found is not None and found[1].decode() == identity else None


def finished_transcript(spec: JobSpec, identity: str) -> Transcript | None:
    """Read the JSON transcript of this job. Returns None if it does not exist or has missing audio."""
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
