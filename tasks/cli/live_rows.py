"""The rows of a live display: one line per file with its progress and its last words. No I/O.

`stt-batch run` and `stt-batch status --watch` use it. All texts are untrusted, so they are escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich.cells import cell_len
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.batches.number_format import format_duration
from tasks.cli.text_width import head, middle, tail
from worker.text_escaping import printable

MIN_BAR_WIDTH: Final = 60
"""Minimum columns of a terminal for a progress bar in each row."""
MIN_TEXT_WIDTH: Final = 36
"""Minimum columns of a terminal for the text of a file in its row."""


@dataclass(frozen=True, slots=True)
class LiveRow:
    """One file. Times in seconds."""

    name: str
    done_s: float
    length_s: float
    """0 while the length is unknown."""
    text: str = ""
    """The last committed words."""
    partial: str = ""
    """Text that the service may still change."""
    note: str = ""
    """Shown instead of the text: the reason of a wait or of a failure."""
    style: str = ""
    """Colour of the bar and the note: green, yellow or red; empty for a running file."""


def live_table(rows: Sequence[LiveRow], width: int) -> Table:
    """Lay out the rows for a terminal of `width` columns. Each row is one line."""
    names = [printable(row.name) for row in rows]
    times = [_times(row) for row in rows]
    time_width = max(map(len, times), default=0)
    longest = max(map(cell_len, names), default=0)
    bar_width = 0 if width < MIN_BAR_WIDTH else 10 if width < 100 else 20
    room = width - time_width - 1
    name_width = max(4, min(longest, room if width < MIN_TEXT_WIDTH else max(10, width * 3 // 10)))
    text_width = room - name_width - 1 - (bar_width + 1 if bar_width else 0)
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(width=name_width, no_wrap=True)
    if bar_width:
        table.add_column(width=bar_width)
    table.add_column(width=time_width, justify="right", no_wrap=True)
    if text_width > 4:
        table.add_column(width=text_width, no_wrap=True)
    for row, name, time in zip(rows, names, times, strict=True):
        cells: list[Text | ProgressBar] = [Text(middle(name, name_width), style="cyan")]
        if bar_width:
            cells.append(_bar(row))
        cells.append(Text(time))
        if text_width > 4:
            cells.append(_words(row, text_width))
        table.add_row(*cells)
    return table


def _times(row: LiveRow) -> str:
    return f"{format_duration(row.done_s)}/{format_duration(row.length_s) if row.length_s else '?'}"


def _bar(row: LiveRow) -> ProgressBar:
    style = row.style or "bar.complete"
    ended = bool(row.style) and not row.length_s
    length_s = row.length_s or 1.0
    return ProgressBar(
        total=length_s,
        completed=length_s if ended else min(row.done_s, length_s),
        pulse=not row.length_s and not row.style,
        complete_style=style,
        finished_style=row.style or "bar.finished",
    )


def _words(row: LiveRow, width: int) -> Text:
    if row.note:
        return Text(head(printable(row.note), width), style=row.style or "yellow")
    committed, partial = printable(row.text), printable(row.partial)
    whole = tail(f"{committed} {partial}".strip(), width)
    # The partial text at the end is dim, because the service may still change it.
    start = max(0, len(whole) - len(partial)) if partial else len(whole)
    return Text.assemble(whole[:start], (whole[start:], "dim italic"))
