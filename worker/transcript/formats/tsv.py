"""Tab-separated values (.tsv): a row for each segment."""

from __future__ import annotations

from collections.abc import Iterator

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.style import PLAIN, Style


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """A header, then start and end (seconds of the file, to the millisecond), channel (empty for the only one) and
    text, which holds no tab and no line break."""
    del style
    yield "start\tend\tchannel\ttext\n"
    for segment in transcript.segments:
        text = tidy(segment.text)
        if text:
            yield f"{segment.start:.3f}\t{segment.end:.3f}\t{tidy(segment.channel or '')}\t{text}\n"
