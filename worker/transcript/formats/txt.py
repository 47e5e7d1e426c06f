"""Plain text (.txt): a line for each segment."""

from __future__ import annotations

from worker.transcript.lines import clock
from worker.transcript.model import Transcript


def render(transcript: Transcript, *, times: bool = False) -> str:
    """One line per segment that has text; `times` puts `[HH:MM:SS.mmm] ` (start in the file) before each."""
    lines = []
    for segment in transcript.segments:
        text = " ".join(segment.text.split())
        if text:
            lines.append(f"[{clock(round(segment.start * 1000), '.')}] {text}\n" if times else f"{text}\n")
    return "".join(lines)
