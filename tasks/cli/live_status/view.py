"""Lays out the live view for the size of the terminal. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.batches.number_format import format_count, format_duration, format_speed
from tasks.batches.summary import BatchSummary
from tasks.cli.live_rows import LiveRow, live_table
from tasks.cli.live_status.snapshot import Snapshot
from tasks.cli.text_width import head, middle, tail
from tasks.job_spec import source_of
from worker.ledger.records import JobRecord, JobState
from worker.text_escaping import printable

MAX_BATCHES: Final = 8
MAX_WORKERS: Final = 4
MAX_FAILURES: Final = 5
_KEYS: Final = "q: close this view; the work continues"


def picture(shot: Snapshot, width: int, height: int, *, problem: str = "") -> RenderableType:
    """Return the view for a terminal of this size. `problem`: why the state could not be read again."""
    lines: list[RenderableType] = [_title(shot, width)]
    lines += [_line(notice, width, "yellow") for notice in (problem, *shot.notices) if notice]
    # The files get the rows that remain, but at least three.
    room = max(0, height - len(lines) - 2 - 3)
    batches = list(_batches(shot.batches[: max(0, min(MAX_BATCHES, room - 1))], width))
    room -= len(batches)
    workers = list(_workers(shot, width, max(0, min(MAX_WORKERS, room - 1))))
    room -= len(workers)
    failures = list(_failures(shot, width, max(0, min(MAX_FAILURES, room - 1))))
    room -= len(failures)
    lines += [*batches, *workers]
    files = max(0, height - len(lines) - len(failures) - 2)
    if shot.jobs:
        lines += [_heading("files", width), live_table(_rows(shot, files), width)]
    lines += [*failures, _line(_KEYS, width, "dim")]
    return Group(*lines[:height])


def _title(shot: Snapshot, width: int) -> Text:
    counts = f"{shot.running} running, {shot.waiting} waiting"
    room = width - cell_len(counts) - 2
    title = Text.assemble((head(printable(shot.title), max(8, room)), "bold"), f"  {counts}")
    title.truncate(width)
    return title


def _heading(text: str, width: int) -> Text:
    return _line(text, width, "bold dim")


def _line(text: str, width: int, style: str = "") -> Text:
    return Text(head(printable(text), width), style=style, no_wrap=True)


def _batches(batches: Sequence[BatchSummary], width: int) -> Iterator[RenderableType]:
    if not batches:
        return
    name_width = min(max(cell_len(printable(batch.name)) for batch in batches), max(10, width * 3 // 10))
    bar_width = 0 if width < 60 else 10 if width < 100 else 20
    for batch in batches:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_column(width=name_width, no_wrap=True)
        cells: list[Text | ProgressBar] = [Text(middle(printable(batch.name), name_width), style="cyan")]
        if bar_width:
            grid.add_column(width=bar_width)
            cells.append(ProgressBar(total=1.0, completed=_fraction(batch)))
        rest = max(4, width - name_width - bar_width - (2 if bar_width else 1))
        grid.add_column(width=rest, no_wrap=True)
        cells.append(Text(head(_state_of(batch), rest)))
        grid.add_row(*cells)
        yield grid


def _fraction(batch: BatchSummary) -> float:
    ended = sum(count for state, count in batch.counts.items() if state.ended)
    jobs = ended / batch.total if batch.total else 0.0
    # Waiting jobs have no known length, so the share of the audio is only right when every length is known.
    lengths = all(job.duration_s or job.state.ended for job in batch.jobs)
    return batch.done_s / batch.audio_s if lengths and batch.audio_s and ended < batch.total else jobs


def _state_of(batch: BatchSummary) -> str:
    ended = sum(count for state, count in batch.counts.items() if state.ended)
    bad = sum(count for state, count in batch.counts.items() if state.ended and state is not JobState.DONE)
    parts = [f"{ended}/{format_count(batch.total, 'job')}"]
    parts += [f"{bad} not done"] if bad else []
    parts += [f"{batch.needs_review} to review"] if batch.needs_review else []
    parts += [format_speed(batch.speed)] if batch.speed is not None else []
    parts += [f"{format_duration(batch.left_s)} left"] if batch.left_s is not None else []
    parts += ["paused"] if batch.state == "paused" else []
    return ", ".join(parts)


def _workers(shot: Snapshot, width: int, most: int) -> Iterator[Text]:
    workers = shot.queue.workers
    if not workers or not most:
        return
    yield _heading("workers", width)
    for worker in workers[:most]:
        work = (
            f"{format_count(worker.jobs, 'job')}, {worker.sessions} of {format_count(worker.max_sessions, 'session')}"
        )
        yield _line(f"{worker.host}:{worker.pid}  {work}, version {worker.version}", width)
    if len(workers) > most:
        yield _line(f"and {len(workers) - most} more", width, "dim")


def _failures(shot: Snapshot, width: int, most: int) -> Iterator[Text]:
    failures = shot.failures
    if not failures or not most:
        return
    yield _heading("failures", width)
    for reason, count, source in failures[:most]:
        where = f"  ({tail(printable(source), max(12, width // 4))})" if count == 1 and source else ""
        yield _line(f"{count:>5}  {printable(reason)}{where}", width, "red")
    if len(failures) > most:
        yield _line(f"and {len(failures) - most} other reasons: stt-batch status BATCH", width, "dim")


def _rows(shot: Snapshot, most: int) -> list[LiveRow]:
    return [_row(job, shot) for job in shot.jobs[:most]]


def _row(job: JobRecord, shot: Snapshot) -> LiveRow:
    progress, waiting = job.progress, shot.queue.waiting(job)
    wait = f"waits for {waiting.text}" if waiting is not None else ""
    note = "" if progress.sent_s > 0 else progress.trouble or wait or "reading the audio"
    return LiveRow(
        name=source_of(job).rstrip("/").rpartition("/")[2] or job.id,
        done_s=progress.committed_s,
        length_s=max(progress.duration_s, progress.sent_s, progress.committed_s),
        text=shot.texts.get(job.id, ""),
        partial=progress.partial,
        note="" if shot.texts.get(job.id) or progress.partial else note,
    )
