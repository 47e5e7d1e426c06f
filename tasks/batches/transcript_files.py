"""Finds and reads JSON transcripts on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from tasks.batches.summary import KIND
from worker.transcript.model import Transcript
from worker.transcript.revisions import FILE_ENDING

_HEAD_BYTES: Final = 512


def read_transcript(path: Path) -> Transcript | None:
    """Return the transcript in a JSON file, or None if the file cannot be read or contains something else."""
    with suppress(OSError, UnicodeDecodeError, ValidationError):
        return Transcript.model_validate_json(path.read_text(encoding="utf-8"))
    return None


def is_summary(path: Path) -> bool:
    """Whether this file is a summary and not a transcript."""
    return KIND.encode() in head(path)


def transcripts_below(folder: Path, job_id: str | None = None) -> Iterator[tuple[Path, Transcript]]:
    """Yield the JSON transcripts below a folder in order, without those in hidden folders. Other JSON files are
    ignored. `job_id`: only transcripts of this job; the other files are hardly read."""
    for path in _json_files(folder):
        start = head(path)
        if KIND.encode() in start or (job_id is not None and f'"{job_id}"'.encode() not in start):
            continue
        transcript = read_transcript(path)
        if transcript is not None and job_id in (None, transcript.job_id):
            yield path, transcript


def head(path: Path) -> bytes:
    """Return the first bytes of a file, or none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""


def _json_files(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.endswith(".json") and not name.startswith(".") and not name.endswith(FILE_ENDING):
                yield Path(here) / name
