"""Output formats: the table, and one writer per file.

A writer turns a transcript into the text of a file (UTF-8), piece by piece: the document of a long recording is many
times the size of its words and is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from worker.errors import OutputError
from worker.transcript.formats import json_, srt, txt, vtt
from worker.transcript.model import Transcript

FORMATS: Final[dict[str, Callable[[Transcript], Iterator[str]]]] = {
    "json": json_.pieces,
    "srt": srt.pieces,
    "vtt": vtt.pieces,
    "txt": txt.pieces,
}
"""Name (also the file's ending) to writer."""


def pieces(transcript: Transcript, fmt: str) -> Iterator[str]:
    """The transcript as `fmt`, in order. Raises OutputError for a format that is not in `FORMATS`."""
    writer = FORMATS.get(fmt)
    if writer is None:
        raise OutputError(f"there is no output format {fmt!r}; choose from {', '.join(FORMATS)}")
    return writer(transcript)


def render(transcript: Transcript, fmt: str) -> str:
    """The same in one text."""
    return "".join(pieces(transcript, fmt))
