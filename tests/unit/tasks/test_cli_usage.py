"""Help, mistyped names and options that every command shares, in one process."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from tasks.cli import main, options, webhooks
from worker.webhooks import outbox


def invoke(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environ, prog_name="stt-batch")


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (("sumbit",), "Did you mean 'submit'?"),
        (("statsu",), "Did you mean 'status'?"),
        (("run", "--foce", "x"), "--force"),
        (("worker", "--loglevel", "info"), "--log-level"),
    ],
)
def test_a_mistyped_command_or_option_suggests_the_similar_one(arguments: tuple[str, ...], suggestion: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert suggestion in result.output


@pytest.mark.parametrize("command", ["run", "worker", "plan"])
def test_the_beginning_of_an_option_suggests_only_that_option(command: str) -> None:
    result = invoke(command, "--session", "2", "x")
    assert result.exit_code == 2
    assert "'--sessions'" in result.output
    assert "--json" not in result.output


WITH_BOTH = [name for name in main.list_commands(click.Context(main)) if "--quiet" in invoke(name, "--help").output]


@pytest.mark.parametrize("command", WITH_BOTH)
@pytest.mark.parametrize("options", [("-q", "-v"), ("-v", "-q"), ("--verbose", "--quiet")])
def test_quiet_and_verbose_together_are_wrong_usage(command: str, options: tuple[str, str]) -> None:
    needed = {"run": ("x",), "submit": ("x",), "watch": (str(Path(__file__).parent),)}
    result = invoke(command, *options, *needed.get(command, ()))
    assert result.exit_code == 2
    assert "--quiet" in result.output.splitlines()[-1]
    assert "--verbose" in result.output.splitlines()[-1]


def test_a_short_form_and_the_level_together_are_wrong_usage() -> None:
    result = invoke("worker", "-q", "--log-level", "debug")
    assert result.exit_code == 2
    assert "--quiet and --log-level exclude each other" in result.output


@pytest.mark.parametrize(
    ("arguments", "level"),
    [
        ((), None),
        (("-q",), "warning"),
        (("-v",), "debug"),
        (("-v", "-v"), "debug"),
        (("--log-level", "error"), "error"),
    ],
)
def test_the_short_forms_set_the_level(arguments: tuple[str, ...], level: str | None) -> None:
    seen: list[str | None] = []

    @click.command()
    @options.log_level
    def command(log_level: str | None) -> None:
        seen.append(log_level)

    assert CliRunner().invoke(command, list(arguments)).exit_code == 0
    assert seen == [level]


def test_an_unknown_command_without_a_similar_one_gets_no_suggestion() -> None:
    result = invoke("qqqqqq")
    assert result.exit_code == 2
    assert "No such command 'qqqqqq'." in result.output
    assert "Did you mean" not in result.output


@pytest.mark.parametrize("command", ["run", "submit", "plan"])
def test_a_dry_run_prints_a_plan_and_writes_nothing(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = Path(__file__).parents[2] / "samples"
    monkeypatch.chdir(tmp_path)
    options = () if command == "plan" else ("--dry-run",)
    settings = {"STT_REDIS_URL": "redis://127.0.0.1:1/0", "STT_URL": "http://127.0.0.1:1", "STT_API_KEY": "key"}
    result = invoke(command, *options, str(samples / "phone-call.wav"), **settings)
    assert result.exit_code == 0, result.output
    assert "files      1, 0 of them will fail" in result.output
    assert not list(tmp_path.iterdir())


def test_a_dry_run_with_json_lines_prints_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2] / "samples")
    result = invoke("run", "--dry-run", "--json=lines", "phone-call.wav")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["files"] == 1


@pytest.mark.parametrize("command", ["worker", "server", "intake", "watch"])
def test_processes_with_a_log_take_the_short_forms_of_the_level(command: str) -> None:
    shown = invoke(command, "--help").output
    assert "--log-level" in shown
    assert "-v, --verbose" in shown
    assert "-q, --quiet" in shown


def test_an_unknown_variable_is_reported_by_a_command(tmp_path: Path) -> None:
    result = invoke("plan", str(tmp_path / "none.wav"), STT_SESSIONS="4")
    assert "warning: STT_SESSIONS is not a setting; did you mean STT_WORKER_SESSIONS?" in result.output


def test_a_stored_webhook_that_cannot_be_read_does_not_stop_the_list() -> None:
    message = outbox._message("m", {"kind": "batch", "url": "https://host/hook"}, attempts=1, due_at=0, dead=True)
    assert message.body == b""
    facts = webhooks._facts(message)
    assert (facts["id"], facts["type"]) == ("m", None)
    assert facts["reason"]


@pytest.mark.parametrize("name", ["-dash.wav", "--force.wav", "-q.wav"])
def test_a_file_whose_name_begins_with_a_dash_is_named_with_its_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    result = invoke("run", name)
    assert result.exit_code == 2
    assert f"If you mean the file, write ./{name}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--", "x.wav", "-o", "out"), "no such file or folder: -o, out; everything after `--` is a path"),
        (("x" * 3000,), "File name too long; check the path"),
        (
            ("x.wav", "-o", "x.SRT"),
            "--out is a folder, not a file: for one transcript, write `-o - --format srt > x.SRT`",
        ),
        (("x.wav", "-o", "sub/x.json"), "`-o - --format json > sub/x.json`"),
    ],
)
def test_a_wrong_path_is_refused_with_the_remedy(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.wav").touch()
    result = invoke("run", *arguments)
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert message in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["x.wav"]
