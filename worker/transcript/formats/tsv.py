"""Writes tab-separated values (.tsv), one row per segment."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.style import PLAIN, Style


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield a header row and one row per segment: start and end (file seconds, to the millisecond), channel, text.

    The channel is empty if all channels were mixed. The text contains no tabs and no line breaks."""
    del style
    yield "start\tend\tchannel\ttext\n"
    for segment in transcript.segments:
        text = tidy(segment.text)
        if text:
            yield f"{segment.start:.3f}\t{segment.end:.3f}\t{tidy(segment.channel or '')}\t{text}\n"
