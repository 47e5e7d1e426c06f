"""The table at the end of a run on a terminal: one line per file, and the reasons below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from tasks.batches.number_format import format_duration, format_speed
from tasks.batches.remedies import with_remedy
from tasks.batches.summary import without_source
from tasks.cli.run.file_states import File
from tasks.cli.text_width import middle, pad, tail
from worker.ledger.records import JobState
from worker.text_escaping import printable

_INDENT: Final = 4
_RESULT_WIDTH: Final = 11
_MIN_WORDS: Final = 16
"""Minimum columns for the last words of a transcript; with less room they are left out."""
_NO_SPEECH: Final = "no speech was found"
_STYLES: Final = {"done": "green", "review": "yellow", "incomplete": "red", "failed": "red"}


def result_table(files: Sequence[File], names: Sequence[str], width: int) -> Iterator[RenderableType]:
    """Yield the lines of the table for a terminal of `width` columns. `names`: the displayed name of each file."""
    shown = [printable(name) for name in names]
    lengths = [format_duration(file.duration_s) if file.duration_s else "–" for file in files]
    speeds = [format_speed(file.speed) for file in files]
    length_width = max(5, *map(len, lengths))
    speed_width = max(5, *map(len, speeds))
    rest = _RESULT_WIDTH + length_width + speed_width + 6
    longest, room = max(map(cell_len, shown)), max(8, width - rest)
    # Long names leave room for some words, because their own line below shows more of them.
    name_width = min(longest, room, max(20, width * 2 // 5))
    words_width = width - name_width - rest - 2
    head = f"{pad('file', name_width)}  {'result':{_RESULT_WIDTH}}  {'audio':>{length_width}}  {'speed':>{speed_width}}"
    yield Text(head, style="bold", no_wrap=True, overflow="crop")
    for file, name, length, speed in zip(files, shown, lengths, speeds, strict=True):
        word = result_word(file)
        line = Text(pad(name, name_width) + "  ", no_wrap=True, overflow="crop")
        line.append(f"{word:{_RESULT_WIDTH}}", style=_STYLES.get(word, ""))
        line.append(f"  {length:>{length_width}}  {speed:>{speed_width}}")
        if words_width >= _MIN_WORDS and file.error is None and file.committed_text:
            line.append("  " + tail(printable(file.committed_text), words_width), style="dim")
        yield line
        if middle(name, name_width) != name:
            # At most one line: a name may have 255 bytes, which is four lines of 80 columns.
            yield _below(Text(middle(name, width - _INDENT), no_wrap=True, overflow="crop"))
        for note in notes(file):
            yield _below(Text(printable(note), style="red" if file.error is not None else "yellow"))


def _below(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, _INDENT))


def result_word(file: File) -> str:
    """Return the result of a file in one or two words."""
    if file.state is JobState.DONE:
        return "review" if file.review else "done before" if file.skipped else "done"
    if file.state is JobState.INCOMPLETE:
        return "incomplete"
    return "failed" if file.error is not None else "not done"


def notes(file: File) -> list[str]:
    """Return the texts below the line of a file: the reason of its failure, the reasons for a review, and the defects
    of its audio."""
    error = [with_remedy(file.error[0], without_source(file.error[1], file.source.shown))] if file.error else []
    reviews = [f"needs review: {text}" for text in file.review]
    warnings = [text for text in file.warnings if text not in error]
    return [*error, *reviews, *warnings] or [_NO_SPEECH] * _is_empty(file)


def _is_empty(file: File) -> bool:
    """Whether the transcript has no words, for example that of a silent channel."""
    return file.state is JobState.DONE and file.quality is not None and file.quality.words_per_second is None
