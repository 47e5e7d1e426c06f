"""Output formats: the table, and one writer per file. A writer turns a transcript into the text of a file (UTF-8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from worker.errors import OutputError
from worker.transcript.formats import json_, srt, txt, vtt
from worker.transcript.model import Transcript

FORMATS: Final[dict[str, Callable[[Transcript], str]]] = {
    "json": json_.render,
    "srt": srt.render,
    "vtt": vtt.render,
    "txt": txt.render,
}
"""Name (also the file's ending) to writer."""


def render(transcript: Transcript, fmt: str) -> str:
    """The transcript as `fmt`. Raises OutputError for a format that is not in `FORMATS`."""
    writer = FORMATS.get(fmt)
    if writer is None:
        raise OutputError(f"there is no output format {fmt!r}; choose from {', '.join(FORMATS)}")
    return writer(transcript)
