"""Displays a run: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.batches.number_format import format_duration, format_speed
from tasks.batches.summary import without_source
from tasks.cli.run.file_states import File
from tasks.cli.run.progress_totals import RunTotals, RunTracker
from tasks.cli.tables import display_path, show_table
from tasks.cli.terminal_output import echo_error, safe
from worker.ledger.records import JobState
from worker.text_escaping import printable

MAX_ROWS: Final = 8
"""Maximum number of active files with a progress bar."""
PROGRESS_LINE_EVERY_S: Final = 15.0
"""Seconds between two progress lines if there are no bars."""
MAX_TABLE_ROWS: Final = 30


class RunDisplay:
    """Displays one run. Progress bars are shown within `with display.live():`. `update` refreshes the display. `ended`
    reports one file."""

    def __init__(self, console: Console, tracker: RunTracker, out: Path, *, print_failures: bool = False) -> None:
        """`print_failures`: also print failures on standard error. This is needed if `console` is quiet, because a
        quiet console prints nothing."""
        self._console = console
        self._tracker = tracker
        self._out = out
        self._bars = console.is_terminal and not console.quiet
        self._print_failures = print_failures
        self._live: Live | None = None
        self._status = "starting"
        self._next_line = time.monotonic() + PROGRESS_LINE_EVERY_S

    def live(self) -> AbstractContextManager[object]:
        if not self._bars:
            return nullcontext()
        self._live = Live(get_renderable=self._picture, console=self._console, refresh_per_second=8, transient=True)
        return self._live

    def status(self, text: str) -> None:
        self._status = text

    def ended(self, file: File) -> None:
        """Print one line for a file that has ended, and its warnings below the line. Print nothing for skipped files.
        On a terminal, print nothing for transcribed files that the final table lists."""
        if file.skipped:
            return
        if file.error is not None:
            self._failure(file, file.error[1])
        elif not self._bars or len(self._tracker.files) > MAX_TABLE_ROWS:
            speed = file.duration_s / file.took_s if file.took_s else None
            word = "[yellow]review[/]" if file.review else "[green]done[/]  "
            self._console.print(
                f"{word}  {safe(display_path(file.source.shown))}  {format_duration(file.duration_s)}"
                f"  {format_speed(speed)}",
                soft_wrap=True,
            )
            for warning in (*_reviews(file), *file.warnings):
                self._console.print(f"        [yellow]{safe(warning)}[/]", soft_wrap=True)

    def update(self) -> None:
        if self._bars or time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + PROGRESS_LINE_EVERY_S
        overall = self._tracker.overall()
        self._console.print(
            f"{_ended_count(overall)}/{overall.total} files, {overall.fraction:.0%}, "
            f"{format_speed(overall.speed)}, {format_duration(overall.left_s)} left",
            soft_wrap=True,
        )

    def _picture(self) -> RenderableType:
        overall = self._tracker.overall()
        active = [file for file in self._tracker.files if file.state is JobState.RUNNING]
        width = self._console.width
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=max(16, min(36, width // 3)), no_wrap=True, overflow="ellipsis")
        grid.add_column(width=max(10, min(24, width // 5)))
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        room = max(10, width - min(36, width // 3) - min(24, width // 5) - 20)
        for file in active[:MAX_ROWS]:
            length = file.duration_s
            grid.add_row(
                Text(printable(file.out_name), style="cyan"),
                ProgressBar(total=length or 1.0, completed=file.behind_s, pulse=not length),
                f"{format_duration(file.behind_s)}/{format_duration(length) if length else '?'}",
                Text(_tail(printable(file.partial_text), room), style="dim"),
            )
        counts = f"{_ended_count(overall)}/{overall.total} files"
        if overall.incomplete:
            counts += f", {overall.incomplete} incomplete"
        if overall.failed:
            counts += f", {overall.failed} failed"
        if len(active) > MAX_ROWS:
            counts += f", {len(active)} active"
        grid.add_row(
            Text(f"{counts}, {self._status}" if self._status else counts, style="bold"),
            ProgressBar(total=1.0, completed=overall.fraction),
            format_speed(overall.speed),
            "" if overall.left_s is None else f"{format_duration(overall.left_s)} left",
        )
        return grid

    def summary(self, elapsed_s: float) -> None:
        files = self._tracker.files
        overall = self._tracker.overall()
        shown = [file for file in files if not file.skipped or len(files) <= MAX_TABLE_ROWS]
        if shown and len(shown) <= MAX_TABLE_ROWS:
            show_table(self._console, _table(shown, self._out))
        written = (JobState.DONE, JobState.INCOMPLETE)
        audio_s = sum(file.duration_s for file in files if file.state in written and not file.skipped)
        parts = [f"{overall.done - overall.skipped} done"]
        if reviews := sum(1 for file in files if file.review and not file.skipped):
            parts[0] += f" ([yellow]{reviews} need review[/])"
        if overall.skipped:
            parts.append(f"{overall.skipped} done before")
        if overall.incomplete:
            parts.append(f"[red]{overall.incomplete} incomplete[/]")
        if overall.failed:
            parts.append(f"[red]{overall.failed} failed[/]")
        waiting = overall.total - _ended_count(overall)
        if waiting:
            parts.append(f"{waiting} not done")
        speed = audio_s / elapsed_s if audio_s and elapsed_s else None
        self._console.print(
            f"{', '.join(parts)}; {format_duration(audio_s)} of audio in {format_duration(elapsed_s)} "
            f"({format_speed(speed)}). "
            f"Transcripts: {safe(display_path(self._out))}",
            soft_wrap=True,
        )
        if len(shown) > MAX_TABLE_ROWS:
            for file in shown:
                if file.error is not None:
                    self._failure(file, file.error[1])

    def _failure(self, file: File, reason: str) -> None:
        word = "incomplete" if file.state is JobState.INCOMPLETE else "failed"
        reason = without_source(reason, file.source.shown)
        if self._print_failures:
            echo_error(f"{word}  {display_path(file.source.shown)}: {reason}")
        self._console.print(f"[red]{word}[/]  {safe(display_path(file.source.shown))}: {safe(reason)}", soft_wrap=True)


def _reviews(file: File) -> list[str]:
    return [f"needs review: {text}" for text in file.review]


def _ended_count(overall: RunTotals) -> int:
    return overall.done + overall.incomplete + overall.failed


def _tail(text: str, room: int) -> str:
    """Return the end of `text` that fits into `room` terminal columns. A Chinese character takes two columns."""
    if cell_len(text) <= room:
        return text
    while text and cell_len(text) > room - 1:
        text = text[1:]
    return f"…{text.lstrip()}"


def _table(files: Sequence[File], out: Path) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("file", overflow="fold")
    table.add_column("result")
    table.add_column("audio", justify="right")
    table.add_column("speed", justify="right")
    table.add_column("transcript, or the reason", overflow="fold")
    for file in files:
        speed = file.duration_s / file.took_s if file.took_s and file.state is JobState.DONE else None
        if file.error is not None:
            result = "incomplete" if file.state is JobState.INCOMPLETE else "failed"
            result, end = f"[red]{result}[/]", safe(without_source(file.error[1], file.source.shown))
        elif file.state is JobState.DONE:
            result = "done before" if file.skipped else "[green]done[/]"
            if file.review:
                result = "[yellow]review[/]"
            end = safe(f"{display_path(out)}/{file.out_name}") + ".*"
            end += "".join(f"\n[yellow]{safe(warning)}[/]" for warning in (*_reviews(file), *file.warnings))
        else:
            result, end = "not done", ""
        length = format_duration(file.duration_s) if file.duration_s else "–"
        table.add_row(safe(display_path(file.source.shown)), result, length, format_speed(speed), end)
    return table
