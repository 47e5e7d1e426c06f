"""SubRip subtitles (.srt)."""

from __future__ import annotations

from worker.transcript.lines import Cue, clock, cues
from worker.transcript.model import Transcript


def render(transcript: Transcript) -> str:
    """Numbered cues, `HH:MM:SS,mmm`. Empty for a transcript without text."""
    return "\n".join(_cue(number, cue) for number, cue in enumerate(cues(transcript), start=1))


def _cue(number: int, cue: Cue) -> str:
    lines = "\n".join(cue.lines)
    return f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{lines}\n"
