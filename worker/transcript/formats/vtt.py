"""WebVTT subtitles (.vtt), https://www.w3.org/TR/webvtt1/."""

from __future__ import annotations

from worker.transcript.lines import Cue, clock, cues
from worker.transcript.model import Transcript


def render(transcript: Transcript) -> str:
    """Header and cues, `HH:MM:SS.mmm`. `&`, `<` and `>` are written as character references, so no text can be read
    as markup or as an arrow."""
    return "\n".join(["WEBVTT\n", *(_cue(cue) for cue in cues(transcript))])


def _cue(cue: Cue) -> str:
    lines = "\n".join(_escape(line) for line in cue.lines)
    return f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{lines}\n"


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
