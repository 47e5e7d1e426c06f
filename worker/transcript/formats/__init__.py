"""Output formats: the table, and one writer per file.

A writer turns a transcript into the text of a file (UTF-8), piece by piece: the document of a long recording is many
times the size of its words and is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from worker.errors import OutputError
from worker.transcript.formats import ass, ctm, html, json_, srt, textgrid, tsv, txt, vtt
from worker.transcript.model import Transcript
from worker.transcript.subtitles.chinese_script import in_script
from worker.transcript.subtitles.style import PLAIN, Style

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
"""Name (also the file's ending) to writer."""


def pieces(
    transcript: Transcript, fmt: str, style: Style = PLAIN, *, place: str | None = None, absolute_paths: bool = False
) -> Iterator[str]:
    """The transcript as `fmt`, in order. Raises OutputError for a format that is not in `FORMATS`.

    `place`: where the file will stand, an absolute path or an address, for the format that names the audio.
    `absolute_paths`: whether a page may name it by its absolute path.
    """
    writer = FORMATS.get(fmt)
    if writer is None:
        raise OutputError(f"there is no output format {fmt!r}; choose from {', '.join(FORMATS)}")
    said = in_script(transcript, style.script)
    return html.pieces(said, style, place, absolute_paths=absolute_paths) if fmt == "html" else writer(said, style)


def render(transcript: Transcript, fmt: str, style: Style = PLAIN) -> str:
    """The same in one text."""
    return "".join(pieces(transcript, fmt, style))
