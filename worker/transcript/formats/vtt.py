"""WebVTT subtitles (.vtt), https://www.w3.org/TR/webvtt1/."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.lines import Cue, clock, cues
from worker.transcript.model import Transcript


def pieces(transcript: Transcript) -> Iterator[str]:
    """Header and cues, `HH:MM:SS.mmm`. `&`, `<` and `>` are written as character references, so no text can be read
    as markup or as an arrow."""
    yield "WEBVTT\n"
    for cue in cues(transcript):
        yield "\n" + _cue(cue)


def _cue(cue: Cue) -> str:
    lines = "\n".join(_escape(line) for line in cue.lines)
    return f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{lines}\n"


def _escape(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
