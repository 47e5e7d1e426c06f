"""Finds transcripts that earlier runs wrote to the output folders, even if the ledger does not have their jobs."""

from __future__ import annotations

import os
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
    return all(map(os.path.exists, _local(spec)))


def document_of(spec: JobSpec, identity: str) -> Path | None:
    """Return the path of the JSON transcript of a job if all files of the job exist. `identity`: id of the job. JSON is
    written last, so the job is done if the JSON exists. Returns None if a file is missing, if the JSON names another
    job, or if no JSON was requested."""
    found = _read_document(spec, identity)
    return None if found is None else found[0]


def finished_transcript(spec: JobSpec, identity: str) -> Transcript | None:
    """Read the JSON transcript of this job. Returns None if it does not exist or has missing audio."""
    found = _read_document(spec, identity, whole=True)
    if found is None:
        return None
    try:
        transcript = Transcript.model_validate_json(found[1])
    except ValidationError:
        return None
    return transcript if transcript.coverage.complete and transcript.job_id == identity else None


def _read_document(spec: JobSpec, identity: str, *, whole: bool = False) -> tuple[Path, bytes] | None:
    """Return the path of a job's JSON transcript, and its first bytes, or all if `whole`."""
    paths = _local(spec)
    document = next((path for path in paths if path.endswith(".json")), None)
    if document is None or not all(map(os.path.exists, (path for path in paths if path != document))):
        return None
    try:
        with open(document, "rb") as file:  # noqa: PTH123  a Path would take longer than the file
            content = file.read(-1 if whole else _HEAD_BYTES)
    except OSError:  # count it as missing, so that the job writes it again
        return None
    found = _ID_IN_JSON.search(content, 0, _HEAD_BYTES)
    return (Path(document), content) if found is not None and found[1].decode() == identity else None


def _local(spec: JobSpec) -> Sequence[str]:
    return [address.text for address in spec.outputs() if address.is_file]
