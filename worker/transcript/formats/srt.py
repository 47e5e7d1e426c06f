"""Writes SubRip subtitles (.srt)."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cue_timing import Cue, clock, cues, label
from worker.transcript.subtitles.style import PLAIN, Style


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield numbered cues with times as `HH:MM:SS,mmm`. Yields nothing for a transcript without text.

    If channels were transcribed separately, a cue begins with the name of its channel if the previous cue has another
    channel."""
    previous: str | None = None
    for number, cue in enumerate(cues(transcript, style, named=True), start=1):
        name = label(cue.channel) if cue.channel != previous else ""
        previous = cue.channel
        yield ("\n" if number > 1 else "") + _cue(number, cue, name)


def _cue(number: int, cue: Cue, name: str) -> str:
    lines = name + "\n".join(cue.lines)
    return f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{lines}\n"
