"""Reads the texts of a batch's transcripts for its library page, as cheaply as possible.

A JSON transcript has its text before its segments, so for a transcript without corrections only the start of the file
is read: a fiftieth of the time that parsing takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tasks.batches.summary import BatchSummary, JobLine
from tasks.batches.transcript_files import read_transcript
from worker.storage.address import is_url
from worker.transcript.model import Transcript
from worker.transcript.revisions import revised, states

MAX_TEXT: Final = 400_000
"""Maximum characters of one transcript in the page, about seven hours of speech."""
MAX_TOTAL: Final = 20_000_000
"""Maximum characters of all transcripts in the page. Above, only the first `MIN_TEXT` characters of a transcript are
included."""
MIN_TEXT: Final = 400
_BLOCK: Final = 1 << 16
# In indented JSON, this line can only be the field of the document: a string contains no line break.
_SEGMENTS: Final = b'\n  "segments": ['
_CORRECTED: Final = b"\n  ]\n}\n"
"""The end of a document whose last field, `revisions`, is not empty."""


@dataclass(frozen=True, slots=True)
class TranscriptText:
    """The text of one transcript for the library."""

    text: str
    language: str | None = None
    corrected: bool = False
    reviewed: float = 0.0
    """Share of the segments that a person has checked, 0 to 1."""
    cut: bool = False
    """Whether the text is only the beginning of the transcript."""

    def shortened(self, limit: int) -> TranscriptText:
        """Return the text with at most `limit` characters."""
        return self if len(self.text) <= limit else replace(self, text=self.text[:limit], cut=True)


def text_of(transcript: Transcript) -> TranscriptText:
    """Return the current text of a transcript."""
    done = [state.reviewed for state in states(transcript)]
    share = sum(done) / len(done) if done else 0.0
    return TranscriptText(revised(transcript).text, transcript.language, bool(transcript.revisions), share)


def read_texts(summary: BatchSummary, folder: Path) -> list[TranscriptText | None]:
    """Return the text of each job of the summary, or None for a job without a readable JSON transcript on this disk.

    `folder`: outputs with relative paths are relative to it."""
    found: list[TranscriptText | None] = []
    left = MAX_TOTAL
    for job in summary.jobs:
        path = _json_output(job, folder)
        one = None if path is None else read_text(path)
        if one is None:
            found.append(None)
            continue
        one = one.shortened(min(MAX_TEXT, max(MIN_TEXT, left)))
        left -= len(one.text)
        found.append(one)
    return found


def read_text(path: Path) -> TranscriptText | None:
    """Return the current text of a JSON transcript, or None if the file cannot be read or contains something else."""
    head = _head(path)
    if head is not None:
        text, language = head.get("text"), head.get("language")
        if isinstance(text, str):
            return TranscriptText(text, language if isinstance(language, str) else None)
    transcript = read_transcript(path)
    return None if transcript is None else text_of(transcript)


def _head(path: Path) -> Mapping[str, object] | None:
    """Return the fields before the segments. Returns None if the transcript has corrections or another layout."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  Path.open takes as long as reading a short transcript
            file.seek(-min(len(_CORRECTED), os.fstat(file.fileno()).st_size), os.SEEK_END)
            if file.read() == _CORRECTED:
                return None
            file.seek(0)
            start = b""
            while (at := start.find(_SEGMENTS)) < 0:
                block = file.read(_BLOCK)
                if not block or len(start) > 8 * MAX_TEXT:
                    return None
                start += block
        found = json.loads(start[:at].rstrip().rstrip(b",") + b"}")
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _json_output(job: JobLine, folder: Path) -> Path | None:
    return next((folder / output for output in job.outputs if output.endswith(".json") and not is_url(output)), None)
