"""Output files as strings."""

from __future__ import annotations

from worker.transcript.formats import pieces
from worker.transcript.model import Transcript
from worker.transcript.subtitles.style import PLAIN, Style


def render(transcript: Transcript, fmt: str, style: Style = PLAIN) -> str:
    """Return the output file of a transcript in the format `fmt`."""
    return "".join(pieces(transcript, fmt, style))
