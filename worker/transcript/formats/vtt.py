"""Writes WebVTT subtitles (.vtt), https://www.w3.org/TR/webvtt1/."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cue import Cue
from worker.transcript.subtitles.cue_timing import clock, cues
from worker.transcript.subtitles.style import PLAIN, Style


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield the header and the cues, with times as `HH:MM:SS.mmm`.

    `&`, `<` and `>` become character references, so that no text is parsed as markup or as an arrow. The channel
    name is written as the voice (`<v NAME>`) of a cue. If `style.word_cues` is set, a timestamp precedes each word."""
    yield "WEBVTT\n"
    for cue in cues(transcript, style):
        lines = list(_timed(cue)) if style.word_cues else [_escape(line) for line in cue.lines]
        voice = f"<v {_escape(cue.channel)}>" if cue.channel else ""
        text = voice + "\n".join(lines)
        yield f"\n{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{text}\n"


def _timed(cue: Cue) -> Iterator[str]:
    """Yield the lines of a cue with a timestamp before each word except the first, which starts with the cue.

    A timestamp must be within the cue and after the previous timestamp (https://www.w3.org/TR/webvtt1/, 4.2.2). So if
    several words have the same start, only the first of them has a timestamp.
    """
    last_ms = cue.start_ms
    for line in cue.parts:
        text = ""
        for index, part in enumerate(line):
            text += " " if part.spaced and index else ""
            if part.begins_word and last_ms < part.start_ms < cue.end_ms:
                text += f"<{clock(part.start_ms, '.')}>"
                last_ms = part.start_ms
            text += _escape(part.text)
        yield text


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
