"""Plain text (.txt): a line for each segment."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.lines import clock
from worker.transcript.model import Transcript


def pieces(transcript: Transcript, *, times: bool = False) -> Iterator[str]:
    """One line per segment that has text; `times` puts `[HH:MM:SS.mmm] ` (start in the file) before each."""
    for segment in transcript.segments:
        text = " ".join(segment.text.split())
        if text:
            yield f"[{clock(round(segment.start * 1000), '.')}] {text}\n" if times else f"{text}\n"
