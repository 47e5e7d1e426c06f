"""Finds transcripts that earlier runs wrote to the output folders, even if the ledger does not have their jobs."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tasks.job_spec import JobSpec
from worker.errors import OutputError
from worker.transcript.model import Transcript

_ID_IN_JSON: Final = re.compile(rb'"job_id":\s*"([^"]*)"')
_HEAD_BYTES: Final = 4096
_TAIL_BYTES: Final = 64
MAX_CLOCK_DIFFERENCE_S: Final = 2.0
"""Maximum difference between the clocks of the ledger and of the file system, with the precision of file times."""


def all_written(spec: JobSpec, ended_at: float | None) -> bool:
    """Whether all local output files of a job exist as it wrote them: none was emptied, and JSON is not cut off.
    Outputs in object stores are not checked. `ended_at`: the end of the job, in seconds since 1970."""
    latest = None if ended_at is None else ended_at + MAX_CLOCK_DIFFERENCE_S
    return all(is_written(path, latest) and (not path.endswith(".json") or _is_whole(path)) for path in _local(spec))


def is_written(path: str, ended_at: float | None = None) -> bool:
    """Whether this is a file, and was not emptied after `ended_at`, in seconds since 1970. Subtitles and texts that a
    job wrote are empty if the recording has no speech."""
    try:
        found = os.stat(path)  # noqa: PTH116  a Path would take longer
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and (found.st_size > 0 or ended_at is None or found.st_mtime <= ended_at)


def modified_at(path: str) -> float | None:
    """Return the time of the last change of a file in seconds since 1970, or None if it cannot be read."""
    try:
        return os.stat(path).st_mtime  # noqa: PTH116  a Path would take longer
    except OSError:
        return None


def check_no_folders(spec: JobSpec) -> None:
    """Raise OutputError if a folder has the name of an output file. The job could not write this file."""
    for path in _local(spec):
        if os.path.isdir(path):  # noqa: PTH112  a Path would take longer
            raise OutputError(
                f"cannot write {path}: a folder has this name; move it away, or choose another output folder"
            )


def document_may_exist(spec: JobSpec) -> bool:
    """Whether a JSON transcript that may be that of the job exists. Reads no file."""
    document = _document(_local(spec))
    return document is not None and is_written(document, 0.0)


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
    document = _document(paths)
    if document is None or not all(map(os.path.isfile, (path for path in paths if path != document))):
        return None
    try:
        with open(document, "rb") as file:  # noqa: PTH123  a Path would take longer than the file
            content = file.read(-1 if whole else _HEAD_BYTES)
    except OSError:  # count it as missing, so that the job writes it again
        return None
    found = _ID_IN_JSON.search(content, 0, _HEAD_BYTES)
    return (Path(document), content) if found is not None and found[1].decode() == identity else None


def _is_whole(path: str) -> bool:
    """Whether a JSON file can be read and ends like one. Reads only its end."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  a Path would take longer than the file
            file.seek(-min(_TAIL_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read().rstrip().endswith(b"}")
    except OSError:
        return False


def _document(paths: Sequence[str]) -> str | None:
    return next((path for path in paths if path.endswith(".json")), None)


def _local(spec: JobSpec) -> Sequence[str]:
    return [address.text for address in spec.outputs() if address.is_file]
