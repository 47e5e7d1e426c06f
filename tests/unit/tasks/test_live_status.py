"""The full-screen view of `stt-batch status --watch` fits every terminal and shows no control characters."""

from __future__ import annotations

import io
import json

import pytest
from rich.cells import cell_len
from rich.console import Console

from tasks.batches.summary import JobLine, summarize
from tasks.cli.live_status.snapshot import Snapshot, lone_failures
from tasks.cli.live_status.view import picture
from worker.ledger.records import FIELDS, JobRecord, read_record
from worker.ledger.waiting import QueueView
from worker.ledger.worker_registry import WorkerFacts

SIZES = [(12, 3), (20, 5), (40, 10), (80, 24), (120, 40)]


def record(name: str, state: str, **fields: str | float) -> JobRecord:
    spec = json.dumps({"source": f"/calls/{name}"})
    values: dict[str, str | None] = {**dict.fromkeys(FIELDS), "state": state, "spec": spec}
    found = read_record(name, {**values, **{key: str(value) for key, value in fields.items()}})
    assert found is not None
    return found


def a_worker(number: int) -> WorkerFacts:
    return WorkerFacts(f"w{number}", "主機\x1b[2J", number, "1.0", 0.0, sessions=1, max_sessions=8, jobs=3, key="k")


def a_snapshot(jobs: int = 30) -> Snapshot:
    running = [
        record(f"會議{n}\u202e\x1b[31m.wav", "running", duration_s=60, sent_s=30, committed_s=12, partial="and \x07 so")
        for n in range(jobs)
    ]
    failed = [
        record(f"{n}.wav", "failed", error_code="source_damaged", error=f"/calls/{n}.wav: reason {'abc'[n % 3]}\x1b[2J")
        for n in range(9)
    ]
    batches = [
        summarize(f"monday \x1b[1m{n}", [JobLine.of(one) for one in [*running, *failed]], now=1.0) for n in range(12)
    ]
    return Snapshot(
        title="the queue\x1b[2J",
        waiting=7,
        running=jobs,
        batches=tuple(batches),
        jobs=tuple(running),
        texts={one.id: "多謝各位\x1b]0;evil\x07 the end of the words" for one in running},
        lone_failures=lone_failures(failed),
        notices=("the API key abc is paused \x1b[2J",),
        queue=QueueView(workers=tuple(a_worker(n) for n in range(9)), now=1.0),
    )


def drawn(shot: Snapshot, width: int, height: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None)
    with console.capture() as captured:
        console.print(picture(shot, width, height))
    return captured.get().splitlines()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_view_fits_the_terminal(width: int, height: int) -> None:
    lines = drawn(a_snapshot(), width, height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    assert not any(mark in line for line in lines for mark in "\x1b\x07\u202e")


def test_a_usual_terminal_has_every_part() -> None:
    text = "\n".join(drawn(a_snapshot(), 80, 24))
    assert "30 running, 7 waiting" in text
    assert "the API key abc is paused" in text
    assert "9/39 jobs, 9 not done" in text
    assert "3 jobs, 1 of 8 sessions" in text
    assert "0:12/1:00" in text
    assert "end of the words" in text
    assert "reason a" in text
    assert "q: close this view; the work continues" in text


def test_an_empty_queue_is_drawn() -> None:
    empty = Snapshot(title="the queue", waiting=0, running=0, batches=(), jobs=(), texts={})
    assert "0 running, 0 waiting" in drawn(empty, 80, 24)[0]


def test_a_job_that_waits_shows_the_reason() -> None:
    job = record("a.wav", "running", duration_s=60, lease=9_999_999_999_999)
    waits = a_worker(1)
    object.__setattr__(waits, "waiting", ("a.wav",))
    shot = Snapshot("x", 0, 1, (), (job,), {}, queue=QueueView(workers=(waits,), now=1.0))
    assert "waits for a free session" in "\n".join(drawn(shot, 120, 10))


def test_failures_of_several_batches_are_one_line_with_their_numbers() -> None:
    empty = [
        record(f"{n}.wav", "failed", error_code="source", error=f"/calls/{n}.wav: is empty (0 bytes)") for n in "ab"
    ]
    batches = tuple(summarize(one.id, [JobLine.of(one)], now=1.0) for one in empty)
    text = "\n".join(drawn(Snapshot("the queue", 0, 0, batches, (), {}), 80, 24))
    assert "    2  is empty (0 bytes)" in text
    assert "files" not in text  # no file runs, so the heading is omitted
