"""Writes SubRip subtitles (.srt)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cue import Cue
from worker.transcript.subtitles.cue_timing import clock, cues, label
from worker.transcript.subtitles.style import PLAIN, Style

# SubRip has no way to escape characters. Players take `<b>`, `{\an8}`, `\N`, `&lt;` and times in the text as their
# own, so similar characters replace them. U+FE60 is a small ampersand.
_SAFE: Final = str.maketrans({"<": "＜", ">": "＞", "{": "｛", "}": "｝", "\\": "＼"})
_REFERENCE: Final = re.compile(r"&(?=#?\w+;)")
_TIME: Final = re.compile(r"\d+:\d+:\d+[.,]\d")
_COLON: Final = "∶"  # U+2236
_FULL_WIDTH_DIGITS: Final = str.maketrans("0123456789", "０１２３４５６７８９")


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield numbered cues with times as `HH:MM:SS,mmm`. Yields nothing for a transcript without text.

    If channels were transcribed separately, a cue begins with the name of its channel if the previous cue has another
    channel. Characters that players take for markup are replaced by similar ones."""
    previous: str | None = None
    for number, cue in enumerate(cues(transcript, style, named=True), start=1):
        name = label(cue.channel) if cue.channel != previous else ""
        previous = cue.channel
        yield ("\n" if number > 1 else "") + _cue(number, cue, name)


def _cue(number: int, cue: Cue, name: str) -> str:
    first, *others = (_safe(line) for line in (name + cue.lines[0], *cue.lines[1:]))
    # Readers take a line of digits at the end of a cue for the number of the next cue.
    others = [line.translate(_FULL_WIDTH_DIGITS) if line.isdecimal() else line for line in others]
    return f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n" + "\n".join([first, *others]) + "\n"


def _safe(line: str) -> str:
    line = _REFERENCE.sub("﹠", line.translate(_SAFE))
    return line.replace(":", _COLON) if _TIME.search(line) else line
