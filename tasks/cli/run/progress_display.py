"""Displays a run: a live view and a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.batches.number_format import format_count, format_duration, format_speed
from tasks.batches.path_privacy import short_names
from tasks.cli.live_rows import LiveRow, live_table
from tasks.cli.run.file_states import File
from tasks.cli.run.progress_totals import RunTotals, RunTracker
from tasks.cli.run.result_table import notes, result_table, result_word
from tasks.cli.tables import display_path
from tasks.cli.terminal_output import echo_error, safe
from tasks.cli.text_width import head
from worker.ledger.records import JobState
from worker.text_escaping import printable

MAX_ROWS: Final = 16
"""Maximum number of files in the live view."""
PROGRESS_LINE_EVERY_S: Final = 15.0
"""Seconds between two progress lines if there is no live view."""
MAX_TABLE_ROWS: Final = 30
"""Maximum number of files of which the table lists all. Of more files it lists those with a failure or a note."""
STILL_S: Final = 3.0
"""Seconds without progress after which the row of a file shows the reason of its wait."""
_ROW_STYLES: Final = {"done": "green", "done before": "green", "review": "yellow"}


class RunDisplay:
    """Displays one run. The live view is shown within `with display.live():`. `update` refreshes the display. `ended`
    reports one file."""

    def __init__(
        self, console: Console, tracker: RunTracker, out: Path | None, *, print_failures: bool = False
    ) -> None:
        """`out`: folder to name at the end, if any. `print_failures`: also print failures on standard error. This is
        needed if `console` is quiet, because a quiet console prints nothing."""
        self._console = console
        self._tracker = tracker
        self._out = out
        # A dumb terminal cannot move its cursor, so it gets the lines of a pipe.
        self._bars = console.is_terminal and not console.is_dumb_terminal and not console.quiet
        self._print_failures = print_failures
        self._live: Live | None = None
        self._names = short_names(file.source.text for file in tracker.files if file.source.is_file)
        self._status, self._status_at = "starting", time.monotonic()
        self._recent: list[File] = []
        self._wait_s, self._wait_read_at = 0.0, 0.0
        self._next_line = time.monotonic() + PROGRESS_LINE_EVERY_S

    @property
    def shows_text(self) -> bool:
        """Whether the display shows the last words of each file."""
        return self._bars

    def live(self) -> AbstractContextManager[object]:
        if not self._bars:
            return nullcontext()
        self._live = Live(get_renderable=self._screen, console=self._console, refresh_per_second=8, transient=True)
        return self._live

    def close(self) -> None:
        """Remove the live view and show the cursor again, for an exit that skips the end of `live`."""
        if self._live is not None:
            self._live.stop()

    def status(self, text: str) -> None:
        """Show what the run does before it streams, or while it stops; empty during the work."""
        loading = text.startswith("loading") and self._status.startswith("loading")  # the first line names all parts
        if text and text != self._status and not loading and not self._bars:
            self._console.print(safe(text[:1].upper() + text[1:]), soft_wrap=True)
        self._status = text
        if not loading:
            self._status_at = time.monotonic()

    def waits(self, seconds: float) -> None:
        """Show on the lines of the files that the service demands a pause of all sessions. 0: no pause."""
        if seconds and not self._wait_s and not self._bars:
            self._console.print(f"waits {format_duration(seconds)}: the service demands this pause", soft_wrap=True)
        self._wait_s, self._wait_read_at = seconds, time.monotonic()

    def ended(self, file: File) -> None:
        """Report a file that has ended. On a terminal, it stays in the live view until others replace it, and the final
        table lists it. Elsewhere, print one line and its notes. Print nothing for skipped files of a large run."""
        if file.error is not None and self._print_failures:
            echo_error(f"{result_word(file)}  {display_path(file.shown)}: {notes(file)[0]}")
        if self._bars:
            if not file.skipped:
                self._recent = [*self._recent[1 - MAX_ROWS :], file]
        elif not file.skipped or len(self._tracker.files) <= MAX_TABLE_ROWS:
            self._print_line(file)

    def update(self) -> None:
        if self._bars or time.monotonic() < self._next_line:
            return
        self._next_line = time.monotonic() + PROGRESS_LINE_EVERY_S
        overall = self._tracker.overall()
        if overall.ended:
            return
        parts = [f"{_ended_count(overall)}/{format_count(overall.total, 'file')}", f"{overall.fraction:.0%}"]
        self._console.print(", ".join([*parts, *_pace(overall)]), soft_wrap=True)

    def summary(self, elapsed_s: float) -> None:
        """Print the final table, and one line with the totals."""
        files = self._tracker.files
        overall = self._tracker.overall()
        if self._bars:
            shown = [file for file in files if len(files) <= MAX_TABLE_ROWS or (notes(file) and not file.skipped)]
            for line in result_table(shown, list(map(self._name, shown)), self._console.width) if shown else ():
                self._console.print(line)
        written = (JobState.DONE, JobState.INCOMPLETE)
        audio_s = sum(file.duration_s for file in files if file.state in written and not file.skipped)
        speed = audio_s / elapsed_s if audio_s and elapsed_s else None
        self._console.print(
            f"{', '.join(_count_parts(overall, files))}; {format_duration(audio_s)} of audio in "
            f"{format_duration(elapsed_s)} ({format_speed(speed)})."
            + (f" Transcripts: {safe(display_path(self._out))}" if self._out is not None else ""),
            soft_wrap=True,
        )

    def _print_line(self, file: File) -> None:
        """Print the result of a file as one line, so that grep finds whole lines; warnings follow below it."""
        word, shown = result_word(file), safe(display_path(file.shown))
        if file.error is not None:
            self._console.print(f"[red]{word}[/]  {shown}: {safe(notes(file)[0])}", soft_wrap=True)
        else:
            colour = "yellow" if word == "review" else "green"
            self._console.print(
                f"[{colour}]{word:6}[/]  {shown}  {format_duration(file.duration_s)}  {format_speed(file.speed)}",
                soft_wrap=True,
            )
        for note in notes(file)[1 if file.error is not None else 0 :]:
            self._console.print(f"        [yellow]{safe(note)}[/]", soft_wrap=True)

    # -- live view -------------------------------------------------------------------------------------------------

    def _name(self, file: File) -> str:
        return file.label or self._names.get(file.source.text, display_path(file.shown))

    def _screen(self) -> RenderableType:
        # The terminal prints `^C` at the cursor. After a full line, it starts a row that Rich does not count, and
        # Rich leaves the first row of the view on the screen. An empty last line prevents this.
        return Group(self._picture(), Text())

    def _picture(self) -> RenderableType:
        overall = self._tracker.overall()
        active = [file for file in self._tracker.files if file.state is JobState.RUNNING]
        room = max(1, min(MAX_ROWS, self._console.height - 4))
        recent = self._recent[max(0, len(self._recent) - room + len(active[:room])) :] if len(active) < room else []
        rows = [*map(self._ended_row, recent), *map(self._active_row, active[:room])]
        return Group(live_table(rows, self._console.width), self._totals(overall, len(active) - room))

    def _active_row(self, file: File) -> LiveRow:
        return LiveRow(
            name=self._name(file),
            done_s=file.behind_s,
            length_s=file.duration_s,
            text=file.committed_text,
            partial=file.partial_text,
            note=self._note(file),
        )

    def _note(self, file: File) -> str:
        """Return why a running file has no progress, or "" if it has some."""
        now = time.monotonic()
        if now - file.moved_at < STILL_S:
            return ""
        trouble = file.record.progress.trouble if file.record is not None else ""
        if left_s := self._wait_s - (now - self._wait_read_at) if self._wait_s else 0.0:
            return f"waits {format_duration(max(0.0, left_s))}, as the service demands: {trouble}".removesuffix(": ")
        if trouble:
            return trouble
        if not file.duration_s:
            return "reading the audio"
        progress = file.record.progress if file.record is not None else None
        return "waiting for a session" if progress is not None and progress.sent_s <= (file.before_s or 0.0) else ""

    def _ended_row(self, file: File) -> LiveRow:
        word = result_word(file)
        reasons = notes(file)
        return LiveRow(
            name=self._name(file),
            done_s=file.behind_s,
            length_s=file.duration_s,
            text=file.committed_text,
            note=f"{word}: {reasons[0]}" if reasons else "",
            style=_ROW_STYLES.get(word, "red"),
        )

    def _totals(self, overall: RunTotals, hidden: int) -> RenderableType:
        parts = [f"{_ended_count(overall)}/{format_count(overall.total, 'file')}"]
        troubles = ((overall.failed, "failed"), (overall.incomplete, "incomplete"))
        parts += [f"{count} {word}" for count, word in troubles if count]
        if hidden > 0:
            parts.append(f"{hidden} more active")
        parts += _pace(overall)
        if self._status:
            parts.append(f"{printable(self._status)}, {format_duration(time.monotonic() - self._status_at)}")
        width = self._console.width
        bar_width = 10 if width < 100 else 20
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=bar_width)
        grid.add_column(width=width - bar_width - 2, no_wrap=True)
        grid.add_row(
            ProgressBar(total=1.0, completed=overall.fraction),
            Text(head(", ".join(parts), width - bar_width - 2), style="bold"),
        )
        return grid


def _count_parts(overall: RunTotals, files: Sequence[File]) -> list[str]:
    """Return the numbers of files by result, as Rich markup."""
    parts = [f"{overall.done - overall.skipped} done"]
    if reviews := sum(1 for file in files if file.review and not file.skipped):
        parts[0] += f" ([yellow]{reviews} {'needs' if reviews == 1 else 'need'} review[/])"
    if overall.skipped:
        parts.append(f"{overall.skipped} done before")
    if overall.incomplete:
        parts.append(f"[red]{overall.incomplete} incomplete[/]")
    if overall.failed:
        parts.append(f"[red]{overall.failed} failed[/]")
    if waiting := overall.total - _ended_count(overall):
        parts.append(f"{waiting} not done")
    return parts


def _pace(overall: RunTotals) -> list[str]:
    """Return the speed and the time left, as far as they are known."""
    parts = [] if overall.speed is None else [format_speed(overall.speed)]
    return parts if overall.left_s is None else [*parts, f"{format_duration(overall.left_s)} left"]


def _ended_count(overall: RunTotals) -> int:
    return overall.done + overall.incomplete + overall.failed
