"""The live view and the table of `stt-batch run` on terminals of several widths, with hostile names and texts."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence

import pyte
import pytest
from rich.cells import cell_len
from rich.console import Console

from tasks.cli import text_width
from tasks.cli.run.file_states import File
from tasks.cli.run.progress_display import MAX_TABLE_ROWS, RunDisplay
from tasks.cli.run.progress_totals import RunTracker
from tasks.cli.run.result_table import notes
from tasks.cli.text_width import head, middle, pad, tail
from worker.ledger.records import FIELDS, JobRecord, read_record
from worker.storage.address import parse

WIDTHS = (20, 34, 40, 59, 60, 80, 100, 120, 250)
# Wide characters, an emoji of several code points, combining accents, controls, writing direction, markup.
NAMES = (
    "a.wav",
    "會議記錄 星期一 晨會.flac",
    "👨‍👩‍👧 family.mp3",
    "é" * 60 + ".wav",
    "\x1b[2Jx\u202egpj.wav",
    "[bold]x[/].wav",
)
WORDS = "多謝各位 and \x1b[31mthen [/] the rest of the meeting \u202e was about the budget of next year"


def record(state: str, **fields: str | float) -> JobRecord:
    values: dict[str, str | None] = {**dict.fromkeys(FIELDS), "state": state}
    found = read_record("id", {**values, **{name: str(value) for name, value in fields.items()}})
    assert found is not None
    return found


def file(name: str, state: str, **fields: str | float) -> File:
    return File(
        parse(f"/calls/monday/{name.replace(chr(27), '_')}"), name, 1, job_id=name, record=record(state, **fields)
    )


def display(files: Sequence[File], width: int = 80, **options: bool) -> tuple[RunDisplay, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, width=width, height=24, force_terminal=True, color_system=None, highlight=False)
    console = Console(file=screen, width=width, height=24, **options) if options else console
    return RunDisplay(console, RunTracker(files), parse("/out").path), screen


def live_lines(shown: RunDisplay, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    with console.capture() as captured:
        console.print(shown._picture())
    return captured.get().splitlines()


def running(name: str) -> File:
    one = file(name, "running", duration_s=62, committed_s=12, sent_s=30)
    one.committed_text, one.partial_text, one.moved_at = WORDS, "and \x07 so", time.monotonic()
    return one


@pytest.mark.parametrize("width", WIDTHS)
def test_each_running_file_has_one_line_with_its_last_words(width: int) -> None:
    shown, _ = display([running(name) for name in NAMES], width)
    lines = live_lines(shown, width)
    assert len(lines) == len(NAMES) + 1
    assert all(cell_len(line) <= width for line in lines)
    assert all("0:12/1:02" in line for line in lines[:-1])
    assert not any(mark in line for line in lines for mark in "\x1b\x07\u202e")
    if width >= 80:
        assert all("next year and" in line for line in lines[:-1]), lines
        starts = {cell_len(line[: line.index("0:12/1:02")]) for line in lines[:-1]}
        assert len(starts) == 1  # aligned, also after wide characters
        assert "[bold]x[/].wav" in lines[NAMES.index("[bold]x[/].wav")]


def test_the_last_line_has_counts_speed_time_left_and_the_present_step() -> None:
    files = [running("a.wav"), file("b.wav", "queued")]
    shown, _ = display(files)
    shown.status("loading the model tiny.en, the queue")
    assert "0/2 files, loading the model tiny.en, the queue, 0:0" in live_lines(shown, 80)[-1]
    tracker = shown._tracker
    tracker.mark(0.0)
    files[0].record = record("running", duration_s=62, committed_s=22)
    tracker.mark(1.0)
    shown.status("")
    assert live_lines(shown, 80)[-1].rstrip().endswith("0/2 files, 10.0x, 0:10 left")


def test_a_progress_line_names_only_what_is_known() -> None:
    files = [running("a.wav"), file("b.wav", "queued")]
    shown, screen = display(files, force_terminal=False)
    shown._next_line = 0.0
    shown.update()
    files[0].record = files[1].record = record("done", duration_s=62, committed_s=62)
    shown._next_line = 0.0
    shown.update()  # no progress line: the run has ended
    assert screen.getvalue() == "0/2 files, 10%\n"


def test_a_transcript_without_words_gets_a_note() -> None:
    silent = file("a.wav", "done", duration_s=6, quality='{"needs_review": false, "reasons": []}')
    assert notes(silent) == ["no speech was found"]
    spoken = file(
        "a.wav", "done", duration_s=6, quality='{"needs_review": false, "reasons": [], "words_per_second": 2}'
    )
    assert notes(spoken) == []


def test_a_file_without_progress_shows_the_reason_of_its_wait() -> None:
    waiting = file("a.wav", "running", duration_s=62, sent_s=0, trouble="HTTP 429: too many requests")
    shown, _ = display([waiting], 120)
    assert "HTTP 429" in live_lines(shown, 120)[0]
    shown.waits(43.0)
    assert re.search(r"waits 0:[34]\d, as the service demands: HTTP 429", live_lines(shown, 120)[0])
    waiting.moved_at = time.monotonic()
    assert "waits" not in live_lines(shown, 120)[0]
    unread = file("b.wav", "running")
    assert "reading the audio" in live_lines(display([unread], 80)[0], 80)[0]
    idle = file("c.wav", "running", duration_s=62)
    assert "waiting for a session" in live_lines(display([idle], 80)[0], 80)[0]


DOUBTFUL = '{"needs_review": true, "reasons": [{"code": "language", "text": "the text is not English"}]}'


def ended() -> list[File]:
    done = file("會議記錄.flac", "done", duration_s=62, started=1000, ended=63000, streamed_s=62, streaming_s=6.2)
    done.committed_text = WORDS
    doubtful = file(
        "doubtful.wav",
        "done",
        duration_s=9,
        quality=DOUBTFUL,
    )
    cut = file("cut.mp3", "done", duration_s=3, warnings='["cut off: the header declares 9.5 s"]')
    broken = file("broken.wav", "failed", error_code="source_damaged", error="broken.wav: the file is empty (0 bytes)")
    return [done, doubtful, cut, broken, file("later.wav", "queued")]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_names_each_result_and_each_reason_once(width: int) -> None:
    shown, screen = display(ended(), width)
    for one in ended():
        shown.ended(one)
    assert screen.getvalue() == ""  # the table will have it
    shown.summary(10.0)
    text = screen.getvalue()
    table = text.split("1 done")[0] if width < 60 else text
    assert all(cell_len(line) <= width for line in table.splitlines()[:6])
    joined = " ".join(text.split())
    assert joined.count("the file is empty (0 bytes)") == 1
    assert joined.count("fetch or export the file again") == 1
    assert joined.count("needs review: the text is not English") == 1
    assert joined.count("cut off: the header declares 9.5 s") == 1
    assert "/calls/monday" not in text
    assert text.count("/out") == 1


@pytest.mark.parametrize("width", [40, 80])
@pytest.mark.parametrize("letter", ["a", "會", "e\u0301"])
def test_a_long_name_takes_at_most_one_line_of_its_own(letter: str, width: int) -> None:
    stem = letter * (240 // len(letter.encode()))
    shown, screen = display([file(f"1{stem}2.wav", "done", duration_s=9)], width)
    shown.summary(10.0)
    table = screen.getvalue().split("1 done")[0].splitlines()[1:]
    assert all(cell_len(line) <= width for line in table)
    assert [line.split()[0][0] for line in table if letter in line] == ["1", "1"]
    assert table[1].rstrip().endswith("2.wav")


@pytest.mark.parametrize("width", WIDTHS)
def test_keys_that_the_terminal_prints_leave_no_row_of_the_view(width: int) -> None:
    shown, screen = display([running(name) for name in NAMES], width)
    terminal = pyte.Screen(width, 24)
    stream = pyte.Stream(terminal)

    def follow() -> None:
        stream.feed(screen.getvalue().replace("\n", "\r\n"))
        screen.seek(0)
        screen.truncate()

    with shown.live():
        shown._live.refresh()  # type: ignore[union-attr]
        follow()
        assert terminal.display[0].strip()
        stream.feed("^C^C")
    follow()
    assert [row for row in terminal.display if row.strip()] == []


def test_a_files_speed_counts_only_its_own_streaming() -> None:
    done = ended()[0]
    assert done.took_s == 62.0  # it waited for a session most of this time
    assert done.speed == pytest.approx(10.0)
    shown, screen = display([done])
    shown.summary(62.0)
    assert "10.0x" in screen.getvalue().splitlines()[1]


def test_results_are_aligned_behind_wide_names() -> None:
    shown, screen = display(ended(), 80)
    shown.summary(10.0)
    rows = [line for line in screen.getvalue().splitlines() if line[:1] not in " 2"]
    column = cell_len(rows[0][: rows[0].index("result")])
    for row, word in zip(rows[1:6], ("done", "review", "done", "failed", "not done"), strict=True):
        assert cell_len(row[: row.index(f"  {word} ") + 2]) == column, row


def test_of_many_files_the_table_lists_those_with_a_reason() -> None:
    files = [file(f"{n}.wav", "done", duration_s=1) for n in range(MAX_TABLE_ROWS)] + ended()
    shown, screen = display(files)
    shown.summary(10.0)
    text = screen.getvalue()
    assert "0.wav" not in text
    assert all(name in text for name in ("doubtful.wav", "cut.mp3", "broken.wav"))


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {}])
def test_without_a_capable_terminal_each_result_is_one_plain_line(environment: dict[str, str]) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=40, force_terminal=bool(environment) or None, _environ=environment)
    shown = RunDisplay(console, RunTracker(ended()), parse("/out").path)
    with shown.live():
        shown.status("loading the model tiny.en, the worker")
        shown.status("loading the worker")
        for one in ended()[:4]:
            shown.ended(one)
    shown.summary(10.0)
    lines = screen.getvalue().splitlines()
    assert lines[0] == "Loading the model tiny.en, the worker"
    assert lines[1].startswith("done    /calls/monday/會議記錄.flac  1:02  10.0x")
    assert "failed  /calls/monday/broken.wav: the file is empty (0 bytes); fetch or export the file again" in lines
    assert len([line for line in lines if "broken.wav" in line]) == 1
    assert "\x1b" not in screen.getvalue()


@pytest.mark.parametrize("width", range(0, 14))
@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "a long text indeed",
        "多謝各位同事",
        "👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧",
        "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301",
    ],
)
def test_cut_text_is_never_wider_than_asked(text: str, width: int) -> None:
    assert all(cell_len(cut(text, width)) <= width for cut in (head, tail, middle))
    assert cell_len(pad(text, width)) == width


def test_the_end_of_a_long_chinese_text_is_found_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(text: str) -> int:
        measured.append(text)
        return cell_len(text)

    monkeypatch.setattr(text_width, "cell_len", measure)
    text = "今日天氣好好我哋去行山" * 40
    assert tail(text, 75) == "…" + text[-37:]
    assert len(measured) < 12
