"""Lists of failures name each source once, although the error texts begin with the source."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

from tasks.batches.estimate import BatchLimits, estimate_batch
from tasks.batches.summary import JobLine, summarize, without_source
from tasks.batches.summary_page import page
from tasks.cli import plan
from tasks.cli.run.file_states import File
from tasks.cli.run.progress_display import RunDisplay
from tasks.cli.run.progress_totals import RunTracker
from worker.ledger.records import JobState
from worker.storage.address import parse

SOURCES = ["/calls/monday/a.wav", "a.wav", "s3://bucket/calls/a.wav", "https://host/calls/a.wav"]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("named", ["whole", "name"])
def test_the_source_at_the_beginning_of_an_error_is_removed(source: str, named: str) -> None:
    start = source if named == "whole" else "a.wav"
    assert without_source(f"{start}: the file is empty (0 bytes)", source) == "the file is empty (0 bytes)"


@pytest.mark.parametrize(
    "error",
    ["cannot write /out/a.wav.json: the disk is full", "https://service: no connection", "other.wav: is empty", ""],
)
@pytest.mark.parametrize("source", SOURCES)
def test_other_error_texts_do_not_change(error: str, source: str) -> None:
    assert without_source(error, source) == error


def shown_by_run(source: str, error: str) -> str:
    file = File(parse(source), "a", 1, problem=("source_damaged", error))
    out = io.StringIO()
    display = RunDisplay(Console(file=out, width=300), RunTracker([file]), parse("out").path)
    display.ended(file)
    display.summary(1.0)
    return out.getvalue()


def shown_by_plan(source: str, error: str) -> str:
    limits = BatchLimits(
        max_sessions=1,
        job_max_sessions=1,
        speed=1.0,
        session_max_s=480,
        tail_silence_s=2.0,
        skip_silence=False,
        price_per_hour=0,
    )
    return "\n".join(plan._estimate_lines(estimate_batch([], [failed(source, error)], limits)))


def shown_by_the_page(source: str, error: str) -> str:
    return page(summarize("batch", [failed(source, error)], now=0.0))


def failed(source: str, error: str) -> JobLine:
    return JobLine(id="1", source=source, state=JobState.FAILED, error_code="source_damaged", error=error)


@pytest.mark.parametrize("shown_by", [shown_by_run, shown_by_plan, shown_by_the_page])
@pytest.mark.parametrize("source", SOURCES)
def test_no_line_names_a_failed_source_twice(source: str, shown_by: Callable[[str, str], str]) -> None:
    shown = shown_by(source, f"{source}: the file is empty (0 bytes)")
    lines = [line for line in shown.splitlines() if "the file is empty" in line]
    assert lines
    assert all(line.count("a.wav") <= 1 for line in lines), lines
