"""`stt-batch run` and `stt-batch status --watch` in terminals of 80 and 120 columns, as a person sees them."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.support.command_line import Cli, cli, write_audio
from tests.support.redis_server import Valkey
from tests.support.terminal import Terminal, terminal
from tests.support.wait import wait_until

__all__ = ["cli"]
SIZES = [(80, 24), (120, 30)]


def row_of(shown: Terminal, name: str) -> str:
    return next((row for row in shown.rows if name in row), "")


def recordings(cli: Cli, duration_s: float = 40) -> Path:
    folder = cli.folder / "in"
    write_audio(folder / "long.wav", duration_s=duration_s, seed=1)
    write_audio(folder / "會議 記錄.wav", duration_s=duration_s, seed=2)
    write_audio(folder / "right\u202egnp.wav", duration_s=2, seed=3)
    (folder / "empty.wav").touch()
    return folder


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), pytest.param(120, 30, marks=pytest.mark.chaos)])
def test_a_run_shows_loading_words_time_left_and_its_results(cli: Cli, columns: int, rows: int) -> None:
    recordings(cli, duration_s=20)
    size = {"columns": columns, "rows": rows}
    with terminal(
        "run", "in", "--speed", "4", folder=cli.folder, environment=cli.environment | {"NO_COLOR": ""}, **size
    ) as shown:
        assert shown.wait(120) == 1
        words = r"\d:\d\d/0:\d\d (?:\S+ ){2,}"
        for row in (
            "loading the recognizer",
            rf"long\.wav.*{words}",
            rf"會議.*{words}",
            r"\d/4 files.*x, \d:\d\d left",
        ):
            assert shown.has_shown(row), "\n".join(shown.all_rows)
        assert all(cell_len(row) <= columns for row in shown.all_rows)
        text = shown.text
    assert "\u202e" not in shown.raw.decode()
    assert b"\x1b[?25h" in shown.raw  # the cursor is visible again
    assert text.count("the file is empty (0 bytes)") == 1
    assert "3 done, 1 failed" in text
    assert str(cli.folder) not in text
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("file "))
    ends = {cell_len(line.rstrip()) for line in lines if line.startswith(("long.wav", "會議")) and " done " in line}
    assert "result" in head
    assert all(end <= columns for end in ends)


def test_two_quick_interrupts_restore_the_terminal_and_name_the_next_step(cli: Cli) -> None:
    write_audio(cli.folder / "a.wav", duration_s=60)
    with terminal("run", "a.wav", "--speed", "1", folder=cli.folder, environment=cli.environment) as shown:
        wait_until(lambda: "job started" in cli.log("worker"), "the run works", timeout_s=60, poll_s=0.05)
        shown.press("\x03")
        wait_until(lambda: shown.has_shown("stopping"), "the run stops", timeout_s=60, poll_s=0.01)
        shown.press("\x03")
        assert shown.wait(30) == 130
    assert shown.raw.rfind(b"\x1b[?25h") > shown.raw.rfind(b"\x1b[?25l")  # the cursor is visible again
    assert "interrupted; run the same command again to continue" in shown.rows
    cli.assert_nothing_left()


@pytest.mark.chaos
@pytest.mark.parametrize(("columns", "rows"), SIZES)
@pytest.mark.parametrize("speed", ["1", "4", "max"])
def test_the_live_view_has_words_at_every_speed(cli: Cli, speed: str, columns: int, rows: int) -> None:
    """At speed `max`, a file of ten minutes is long enough to be seen."""
    write_audio(cli.folder / "會議.wav", duration_s={"1": 12, "4": 40}.get(speed, 600))
    size = {"columns": columns, "rows": rows}
    with terminal(
        "run", "會議.wav", "--speed", speed, "--format", "txt", folder=cli.folder, environment=cli.environment, **size
    ) as shown:
        words = re.compile(r"\d:\d\d/\d+:\d\d (?:\S+ ){2,}")
        wait_until(lambda: words.search(row_of(shown, "會議")), "the line has words", timeout_s=60, poll_s=0.05)
        assert all(cell_len(row) <= columns for row in shown.rows)
        assert shown.wait(120) == 0


@pytest.mark.chaos
@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_watch_reports_arriving_files_as_lines(cli: Cli, columns: int, rows: int) -> None:
    inbox = cli.folder / "inbox"
    write_audio(inbox / "會議 記錄.wav")
    valkey = Valkey(cli.folder)
    environment = {**cli.environment, "STT_REDIS_URL": valkey.url}
    arguments = ("watch", "inbox", "--out", "out", "--format", "txt", "--settle", "0.4")
    try:
        with terminal(*arguments, folder=cli.folder, environment=environment, columns=columns, rows=rows) as shown:
            wait_until(lambda: "會議 記錄.wav" in shown.text, "the file is reported", timeout_s=60)
            (inbox / "notes.txt").write_text("no audio")
            (inbox / "noext").write_bytes((inbox / "會議 記錄.wav").read_bytes())
            wait_until(lambda: "noext" in shown.text, "the file without an ending is reported", timeout_s=60)
            assert all(cell_len(row) <= columns for row in shown.rows)
            shown.press("\x03")
            assert shown.wait() == 0
        starts = [line.split()[0] for line in shown.text.splitlines() if "會議" in line or "notes" in line]
        assert starts == ["queued", "left"]
        assert "stopped: 0 done, 0 failed, 1 remain in the queue for the workers" in shown.text
    finally:
        valkey.stop()


@pytest.mark.chaos
def test_a_dumb_terminal_gets_plain_lines(cli: Cli) -> None:
    write_audio(cli.folder / "a.wav")
    environment = {**cli.environment, "TERM": "dumb"}
    with terminal("run", "a.wav", folder=cli.folder, environment=environment) as shown:
        assert shown.wait() == 0
    assert b"\x1b" not in shown.raw
    assert "done    a.wav" in shown.text


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), pytest.param(120, 30, marks=pytest.mark.chaos)])
def test_a_run_is_watched_from_another_terminal(cli: Cli, columns: int, rows: int) -> None:
    recordings(cli)
    run = cli.start("run", "in", "--speed", "2")
    conf = cli.folder / "transcripts" / ".stt-batch" / "valkey.conf"
    wait_until(lambda: "job started" in cli.log("worker"), "the run works", timeout_s=60)
    assert conf.exists()
    arguments = ("status", "--watch", "--out", "transcripts")
    with terminal(*arguments, folder=cli.folder, environment=cli.environment, columns=columns, rows=rows) as shown:
        wait_until(lambda: re.search(r"/0:\d\d \S+", row_of(shown, "long.wav")), "the file has words", timeout_s=60)
        assert "run to transcripts" in shown.rows[0]
        assert row_of(shown, "1 not done") or row_of(shown, "/4 jobs")
        assert row_of(shown, "failures")
        assert row_of(shown, "the file is empty")
        assert row_of(shown, "workers")
        assert all(cell_len(row) <= columns for row in shown.rows)
        shown.press("q")
        assert shown.wait() == 0
        assert b"\x1b[?1049l" in shown.raw  # the first screen is back
    run.terminate()
    run.communicate(timeout=30)
    ended = cli.run("status", "--out", "transcripts")
    assert ended.returncode == 1
    assert "no run writes to this folder now; start `stt-batch run FILES --out transcripts`" in ended.stderr


def test_the_full_screen_view_follows_the_size_of_the_terminal(cli: Cli) -> None:
    valkey = Valkey(cli.folder)
    try:
        environment = {**cli.environment, "STT_REDIS_URL": valkey.url}
        with terminal("status", "--watch", folder=cli.folder, environment=environment) as shown:
            wait_until(lambda: row_of(shown, "the work continues"), "the view is shown", timeout_s=60)
            valkey.signal(signal.SIGSTOP)  # so that only the new size can be the reason to draw the view again
            shown.resize(20, 10)
            wait_until(lambda: row_of(shown, "q: close this view;…"), "the last line is cut to the width")
            assert shown.rows[0].startswith("the que")
            assert all(cell_len(row) <= 20 for row in shown.rows)
            shown.resize(80, 24)
            wait_until(lambda: row_of(shown, "the work continues"), "the last line is whole")
            wait_until(lambda: row_of(shown, "does not answer within 5 s"), "the view reports that Redis hangs", 20)
            shown.press("q")  # while a query waits for Redis
            assert shown.wait() == 0
    finally:
        valkey.signal(signal.SIGCONT)
        valkey.stop()
