"""Writes tab-separated values (.tsv), one row per segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from worker.transcript.model import Transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.style import PLAIN, Style

# Spreadsheets calculate a field that begins with one of these. Some take the full-width forms as well.
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA: Final = tuple("=+-@＝＋－＠")


def pieces(transcript: Transcript, style: Style = PLAIN) -> Iterator[str]:
    """Yield a header row and one row per segment: start and end (positions in the file, in seconds, to the
    millisecond), channel, text.

    The channel is empty if all channels were mixed. The text contains no tabs and no line breaks. An apostrophe is put
    before a text that a spreadsheet would take for a formula. A text that begins with a quotation mark is quoted."""
    del style
    yield "start\tend\tchannel\ttext\n"
    for segment in transcript.segments:
        text = _field(segment.text)
        if text:
            yield f"{segment.start:.3f}\t{segment.end:.3f}\t{_field(segment.channel or '')}\t{text}\n"


def _field(text: str) -> str:
    text = tidy(text)
    if text.startswith(_FORMULA):
        return f"'{text}"
    if text.startswith('"'):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text
