"""SubRip subtitles (.srt)."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.lines import Cue, clock, cues
from worker.transcript.model import Transcript


def pieces(transcript: Transcript) -> Iterator[str]:
    """Numbered cues, `HH:MM:SS,mmm`. Nothing for a transcript without text."""
    for number, cue in enumerate(cues(transcript), start=1):
        yield ("\n" if number > 1 else "") + _cue(number, cue)


def _cue(number: int, cue: Cue) -> str:
    lines = "\n".join(cue.lines)
    return f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{lines}\n"
