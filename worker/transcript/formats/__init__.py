"""Output formats: the table of the writers, one module per format.

A writer yields the text of an output file (UTF-8) in pieces. The file of a long recording is many times larger than its
words, so it should not be in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from worker.errors import OutputError
from worker.transcript.audio_events import speech_of, with_bracketed_events, without_events
from worker.transcript.formats import ass, ctm, html, json_, srt, textgrid, tsv, txt, vtt
from worker.transcript.model import Transcript
from worker.transcript.revisions import revised, states
from worker.transcript.subtitles.chinese_script import in_script
from worker.transcript.subtitles.style import PLAIN, AudioEvents, Style

FORMATS: Final[dict[str, Callable[[Transcript, Style], Iterator[str]]]] = {
    "json": json_.pieces,
    "srt": srt.pieces,
    "vtt": vtt.pieces,
    "txt": txt.pieces,
    "html": html.pieces,
    "ass": ass.pieces,
    "tsv": tsv.pieces,
    "ctm": ctm.pieces,
    "textgrid": textgrid.pieces,
}
"""The writer of each format. The name of a format is also its file name extension."""

WITH_BOM: Final = ("srt", "vtt", "ass", "txt", "tsv")
"""The formats that `Style.bom` applies to. Readers of the other formats do not expect a byte order mark."""


def pieces(
    transcript: Transcript, fmt: str, style: Style = PLAIN, *, place: str | None = None, absolute_paths: bool = False
) -> Iterator[str]:
    """Yield the output file of a transcript in the format `fmt`, in pieces. Raises OutputError for an unknown format.

    `place`: absolute path or address of the output file, for HTML pages that link to the audio. `absolute_paths`:
    whether an HTML page may contain the absolute path of the audio.
    """
    writer = FORMATS.get(fmt)
    if writer is None:
        raise OutputError(f"there is no output format {fmt!r}; choose from {', '.join(FORMATS)}")
    if fmt == "html":
        return page_pieces(transcript, style, place, absolute_paths=absolute_paths)
    # The JSON has the original text and the corrections; every other format has the corrected text.
    current = transcript if fmt == "json" else revised(transcript)
    said = in_script(with_events(current, style.audio_events), style.script)
    return _marked(writer(said, style)) if style.bom and fmt in WITH_BOM else writer(said, style)


def page_pieces(
    transcript: Transcript,
    style: Style = PLAIN,
    place: str | None = None,
    *,
    absolute_paths: bool = False,
    server: html.PageServer | None = None,
) -> Iterator[str]:
    """Yield the HTML page of a transcript; see `html.pieces` for the arguments."""
    said = in_script(with_events(revised(transcript), style.audio_events, every=True), style.script)
    history = [replace(state, segment=now) for state, now in zip(states(transcript), said.segments, strict=True)]
    return html.pieces(
        said,
        style,
        place,
        history=history,
        absolute_paths=absolute_paths,
        server=server,
    )


def with_events(transcript: Transcript, audio_events: AudioEvents | None, *, every: bool = False) -> Transcript:
    """Return the transcript with its audio events in square brackets, or without audio events. If `audio_events` is
    None, the transcript is unchanged.

    Segments that contain only events are removed. With `every`, or if there are corrections, which refer to segments by
    their index, such segments stay with an empty text."""
    if audio_events is None:
        return transcript
    if audio_events == "keep":
        found = tuple(map(with_bracketed_events, transcript.segments))
    elif every or transcript.revisions:
        found = tuple(map(without_events, transcript.segments))
    else:
        found = tuple(speech_of(transcript.segments))
    return transcript.model_copy(
        update={"segments": found, "text": "\n".join(segment.text for segment in found if segment.text)}
    )


def _marked(texts: Iterator[str]) -> Iterator[str]:
    yield "\ufeff"
    yield from texts
