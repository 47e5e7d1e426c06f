"""`stt-batch run` in pipelines: audio from standard input, one transcript on standard output, events as JSON lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.command_line import TIMEOUT_S, Cli, cli, words_of, write_audio

__all__ = ["cli"]


def piped(cli: Cli, *arguments: str, audio: bytes | None = None, **environment: str) -> tuple[int, str, str]:
    """Run a command with `audio` in the pipe of its standard input."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "tasks.cli", *arguments],
        cwd=cli.folder,
        env=cli._environ({"TMPDIR": str(cli.folder / "tmp"), **environment}),
        input=audio,
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture(autouse=True)
def temporary(cli: Cli) -> Path:
    (cli.folder / "tmp").mkdir()
    return cli.folder / "tmp"


def test_audio_from_standard_input_becomes_text_on_standard_output(cli: Cli, temporary: Path) -> None:
    words = write_audio(cli.folder / "a.wav")
    code, out, err = piped(cli, "run", "-", "-o", "-", audio=(cli.folder / "a.wav").read_bytes())
    assert (code, out.split()) == (0, words), err
    assert "1 done" in err
    assert "standard input" in err
    assert list(temporary.iterdir()) == []  # neither the audio nor the state of the run remains
    assert sorted(path.name for path in cli.folder.iterdir()) == ["a.wav", "tmp"]


def test_standard_output_gets_exactly_the_bytes_of_the_format(cli: Cli) -> None:
    words = write_audio(cli.folder / "a.wav")
    done = cli.run("run", "a.wav", "-o", "-", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert [word["text"] for segment in json.loads(done.stdout)["segments"] for word in segment["words"]] == words


def test_standard_input_among_files_gets_its_own_transcript(cli: Cli) -> None:
    words = write_audio(cli.folder / "a.wav", seed=1)
    other = write_audio(cli.folder / "b.flac", seed=2)
    done = cli.run("run", "a.wav", "-", "--json", audio=(cli.folder / "b.flac").read_bytes())
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)  # one document, whatever the events on standard error are
    assert [job["source"].rpartition("/")[2] for job in document["jobs"]] == ["a.wav", "standard input"]
    assert words_of(cli.folder / "transcripts" / "a.json") == words
    assert words_of(cli.folder / "transcripts" / "stdin.json") == other
    assert all((cli.folder / "transcripts" / f"a.{kind}").exists() for kind in ("json", "srt", "vtt", "txt", "html"))


def test_json_lines_stream_texts_and_end_with_the_summary(cli: Cli) -> None:
    words = write_audio(cli.folder / "a.wav", duration_s=6)
    (cli.folder / "empty.wav").touch()
    done = cli.run("run", "a.wav", "empty.wav", "--json=lines")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert events[0]["event"] == "ready"
    assert " ".join(event["text"] for event in events if event["event"] == "committed").split() == words
    assert [event["event"] for event in events if event["event"] in ("done", "failed")].count("failed") == 1
    assert events[-1]["event"] == "summary"
    assert (events[-1]["done"], events[-1]["failed"]) == (1, 1)
    # A file's last text comes before its end.
    assert [event["event"] for event in events if event.get("source", "").endswith("a.wav")][-1] == "done"


@pytest.mark.parametrize(
    ("arguments", "audio", "message"),
    [
        (("run", "-", "-o", "-"), b"", "standard input is empty"),
        (("run", "a.wav", "b.wav", "-o", "-"), None, "writes one transcript, but there are 2 files"),
        (("run", "a.wav", "-o", "-", "-f", "txt,srt"), None, "writes one format, not txt, srt"),
        (("run", "a.wav", "-o", "-", "--json"), None, "--json and -o - exclude each other"),
        (("run", "a.wav", "-o", "-", "--open"), None, "--open and -o - exclude each other"),
        (("status", "--json=lines"), None, "does not take a value"),
    ],
)
def test_wrong_pipes_are_refused(
    cli: Cli, temporary: Path, arguments: tuple[str, ...], audio: bytes | None, message: str
) -> None:
    for name in ("a.wav", "b.wav"):
        (cli.folder / name).touch()
    if audio is None:
        done = cli.run(*arguments)
        found = done.returncode, done.stdout, done.stderr
    else:
        found = piped(cli, *arguments, audio=audio)
    assert found[:2] == (2, "")
    assert message in found[2]
    assert list(temporary.iterdir()) == []


def test_a_failed_source_leaves_standard_output_empty(cli: Cli) -> None:
    done = cli.run("run", "-", "-o", "-", audio=b"this is not audio, but text" * 100)
    assert (done.returncode, done.stdout) == (1, "")
    assert "failed  standard input: " in done.stderr


def test_open_shows_the_summary_in_the_browser(cli: Cli) -> None:
    write_audio(cli.folder / "a.wav")
    browser = cli.folder / "browser"
    browser.write_text('#!/bin/sh\necho "$1" > opened\n')
    browser.chmod(0o755)
    done = cli.run("run", "a.wav", "--open", "--format", "txt", BROWSER=f"{browser} %s")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (cli.folder / "opened").read_text().strip() == (cli.folder / "transcripts" / "summary.html").as_uri()


def test_a_reader_that_ends_early_ends_the_command_without_a_traceback(cli: Cli) -> None:
    write_audio(cli.folder / "a.wav")
    process = cli.start("run", "a.wav", "--format", "txt")
    assert process.stdout is not None
    process.stdout.close()  # `| true`
    assert process.stderr is not None
    err = process.stderr.read()
    process.wait(TIMEOUT_S)
    assert process.returncode != 0
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    cli.assert_nothing_left()


@pytest.mark.parametrize("command", [("config",), pytest.param(("run", "a.wav"), marks=pytest.mark.chaos)])
def test_standard_output_on_a_full_disk_gives_one_error(cli: Cli, command: tuple[str, ...]) -> None:
    write_audio(cli.folder / "a.wav")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tasks.cli", *command],
            cwd=cli.folder,
            env=cli._environ({}),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    text = "the output cannot be written: No space left on device; check its disk and run the command again"
    assert (done.returncode, done.stderr) == (1, f"error: {text}\n")
    cli.assert_nothing_left()


@pytest.mark.parametrize("command", ["plan", pytest.param("run", marks=pytest.mark.chaos)])
def test_a_terminal_without_utf8_shows_escapes(cli: Cli, command: str) -> None:
    (cli.folder / "會議.wav").touch()
    code, out, err = piped(cli, command, os.fspath(cli.folder), PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert code == 1, out + err
    assert "Traceback" not in err
    assert "\\u6703\\u8b70.wav" in out
