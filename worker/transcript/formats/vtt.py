"""WebVTT subtitles (.vtt), https://www.w3.org/TR/webvtt1/."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.transcript.lines import Cue, clock, cues
from worker.transcript.model import Transcript
from worker.transcript.style import PLAIN, Style
from worker.transcript.units import Part


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Header and cues, `HH:MM:SS.mmm`. `&`, `<` and `>` are written as character references, so no text can be read
    as markup or as an arrow. The channel is the voice of a cue; with `word_cues` each word has its time inside it."""
    yield "WEBVTT\n"
    for cue in cues(transcript, style):
        lines = [_words(line, cue) for line in cue.parts] if style.word_cues else [_escape(line) for line in cue.lines]
        voice = f"<v {_escape(cue.channel)}>" if cue.channel else ""
        text = voice + "\n".join(lines)
        yield f"\n{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{text}\n"


def _words(line: Sequence[Part], cue: Cue) -> str:
    """A line with a timestamp before each word that begins within the cue; the first of all begins with it."""
    text = ""
    for index, part in enumerate(line):
        text += " " if part.spaced and index else ""
        if part.begins_word and cue.start_ms < part.start_ms < cue.end_ms:
            text += f"<{clock(part.start_ms, '.')}>"
        text += _escape(part.text)
    return text


def _escape(text: str) -> str:
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
