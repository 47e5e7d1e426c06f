"""Writes plain text (.txt), one line per segment."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.cue_timing import clock, label
from worker.transcript.subtitles.style import PLAIN, Style


def pieces(transcript: Transcript, style: Style = PLAIN, *, times: bool = False) -> Iterator[str]:
    """Yield one line per segment that has text. The name of the channel, if there is one, is put before the text.

    `times`: also put the start of the segment in the file, as `[HH:MM:SS.mmm] `, at the beginning of the line."""
    del style  # the options of subtitles do not apply to plain text
    for segment in transcript.segments:
        text = tidy(segment.text)
        if text:
            at = f"[{clock(round(segment.start * 1000), '.')}] " if times else ""
            yield f"{at}{label(segment.channel)}{text}\n"
