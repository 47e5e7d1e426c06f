"""The files `stt-batch.toml`: their order of precedence, a stranger's file, errors, `stt-batch config`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tasks.cli import main, options
from tasks.cli.command_names import COMMANDS
from tasks.cli.config_files import project_rules
from tasks.cli.config_files.location import existing_files
from tasks.cli.config_files.reading import read_files
from worker.errors import SettingsError
from worker.settings import SECRET_SETTINGS, Settings

HOSTILE = [
    *("url", "api_key", "redis_url", "redis_prefix", "queue", "proxy", "alert_webhook", "webhook_secret", "ca_file"),
    *("client_cert_file", "client_key_file", "s3_endpoint", "allowed_sources", "allowed_outputs", "allowed_webhooks"),
    *("server_recognizer", "server_api_keys", "server_host", "server_model_cache", "record_dir", "temp_dir"),
    *("health_file", "metrics_host", "session_options", "language_option", "absolute_paths", "source_max_gb"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder as the current one; the user's file is `user.toml` above it."""
    for name in [name for name in os.environ if name.startswith("STT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "project").mkdir()
    monkeypatch.setenv("STT_CONFIG", str(tmp_path / "user.toml"))
    (tmp_path / "user.toml").write_text("")
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


def user(folder: Path, text: str) -> None:
    (folder.parent / "user.toml").write_text(text, encoding="utf-8")


def project(folder: Path, text: str) -> None:
    (folder / "stt-batch.toml").write_text(text, encoding="utf-8")


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="stt-batch")


def shown(*arguments: str) -> dict[str, Any]:
    result = invoke("config", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return {one["name"]: (one["value"], one["origin"]) for one in json.loads(result.stdout)["values"]}


def test_options_win_over_the_environment_the_project_the_user_and_defaults(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options.settings_from().speed == 1.0
    user(folder, "speed = 2\nworker_sessions = 3\nlease_s = 40")
    project(folder, "speed = 4")
    found = options.settings_from()
    assert (found.speed, found.worker_sessions, found.lease_s) == (4.0, 3, 40.0)
    assert shown("speed", "STT_WORKER_SESSIONS", "job-attempts") == {
        "speed": ("4", str(folder / "stt-batch.toml")),
        "worker_sessions": ("3", str(folder.parent / "user.toml")),
        "job_attempts": ("5", "default"),
    }
    monkeypatch.setenv("STT_SPEED", "max")
    assert shown("speed") == {"speed": ("max", "STT_SPEED")}
    assert options.settings_from(speed=8.0).speed == 8.0
    monkeypatch.setenv("STT_SPEED", "")  # an empty variable is not set
    assert options.settings_from().speed == 4.0


def test_a_value_of_a_file_is_explicit_so_a_measured_profile_does_not_replace_it(folder: Path) -> None:
    project(folder, "session_max_s = 60")
    assert "session_max_s" in options.settings_from().model_fields_set


@pytest.mark.parametrize("name", HOSTILE)
def test_a_strangers_folder_cannot_set_addresses_secrets_places_or_code(folder: Path, name: str) -> None:
    project(folder, f'{name} = "http://evil.example"')
    for arguments in (("run", "x.wav"), ("config",)):
        result = invoke(*arguments)
        assert result.exit_code == 2
        assert f"{folder / 'stt-batch.toml'}: a project's file must not set {name}" in result.stderr


@pytest.mark.parametrize(("name", "meant"), [("languge", "language"), ("formats", "format"), ("chanels", "channels")])
def test_a_mistyped_option_in_a_projects_file_is_recognized(folder: Path, name: str, meant: str) -> None:
    project(folder, f'[run]\n{name} = "en"')
    result = invoke("config")
    assert result.exit_code == 2
    assert f"must not set {name}" in result.stderr
    assert f"; or did you mean {meant}?" in result.stderr


def test_a_new_setting_is_refused_in_a_projects_file_until_it_is_allowed() -> None:
    assert Settings.model_fields.keys() >= project_rules.SETTINGS
    assert set(SECRET_SETTINGS).isdisjoint(project_rules.SETTINGS)
    suspicious = ("url", "key", "secret", "file", "dir", "host", "port", "endpoint", "allowed", "webhook", "proxy")
    assert not [name for name in project_rules.SETTINGS for word in suspicious if word in name.split("_")]


@pytest.mark.parametrize(
    ("command", "option"),
    [
        ("run", 'url = "http://evil.example"'),
        ("run", 'api-key-file = "/root/key"'),
        ("run", "force = true"),
        ("run", "open = true"),
        ("run", 'session-options = "{}"'),
        ("submit", 'batch-webhook = "http://evil.example"'),
        ("server", 'host = "0.0.0.0"'),
        ("run", 'model = "/downloads/model"'),
        ("run", 'model = "stranger/model"'),
        ("run", 'model = "."'),
        ("run", 'model = ".."'),
        ("run", 'model = "trojan"'),
        ("run", 'model = "trojan-link"'),
        ("run", 'out = "/etc"'),
        ("run", 'out = "../elsewhere"'),
        ("run", 'out = "s3://bucket/x"'),
        ("run", 'out = "link/x"'),
        ("run", 'out = "-"'),
        ("run", 'glossary = "/etc/passwd"'),
        ("run", 'glossary = "link"'),
    ],
)
def test_a_strangers_options_cannot_leave_the_folder(folder: Path, command: str, option: str) -> None:
    (folder / "link").symlink_to("/etc")
    (folder / "trojan").mkdir()
    (folder / "trojan-link").symlink_to("trojan")
    project(folder, f"[{command}]\n{option}")
    result = invoke(command, "x.wav") if command in ("run", "submit") else invoke(command)
    assert result.exit_code == 2
    assert str(folder / "stt-batch.toml") in result.stderr


def test_a_projects_file_is_found_in_the_folders_above_and_its_paths_are_its_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(folder, 'glossary = "names.csv"\n[run]\nout = "results"')
    (folder / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(folder / "deep" / "er")
    assert options.settings_from().glossary == str(folder / "names.csv")
    (file,) = [file for file in read_files(os.environ, COMMANDS) if file.is_project]
    assert file.options["run"]["out"] == str(folder / "results")


def run_parameters(*arguments: str) -> dict[str, Any]:
    """The parameters of `stt-batch run` after files, environment and command line."""
    command = main.get_command(click.Context(main), "run")
    assert command is not None
    found: dict[str, Any] = {}
    before, command.callback = command.callback, lambda **given: found.update(given)
    try:
        result = invoke("run", *arguments)
    finally:
        command.callback = before
    assert result.exit_code == 0, result.output
    return found


def test_a_table_sets_the_options_of_its_command(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user(
        folder, '[run]\nformat = ["json", "srt"]\nlanguage = "yue"\nspeed = 2\nskip-silence = true\n[submit]\nspeed = 9'
    )
    project(folder, '[run]\nlanguage = "en"\nchannels = 2')
    found = run_parameters("x.wav")
    assert (found["formats"], found["language"], found["speed"]) == (("json", "srt"), "en", 2.0)
    assert (found["skip_silence"], found["channels"]) == (True, 2)
    assert run_parameters("x.wav", "-l", "zh")["language"] == "zh"
    assert shown("--changed")["run --language"] == ("en", str(folder / "stt-batch.toml"))
    monkeypatch.setenv("STT_SPEED", "4")  # the environment wins over a file
    assert run_parameters("x.wav")["speed"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speedx = 2", "user.toml: speedx is not a setting; did you mean speed?"),
        ("STT_SPEED = 2", "user.toml: STT_SPEED is not a setting; write speed"),
        ("[rum]\nspeed = 2", "user.toml: rum is not a setting; did you mean [run]?"),
        ("xyzzy = 2", "`stt-batch config` lists the settings"),
        ("speed = 'fast'", "user.toml: speed: "),
        ("speed = 2000-01-01", "speed must be a text, a number"),
        ("speed = [", "user.toml: is not valid TOML"),
        ("speed = 1\nspeed = 2", "is not valid TOML"),
        ("[run]\nformats = 'json'", "[run] formats is not an option of this command; did you mean format?"),
        ("[run]\nformat = true", "[run] format must be a value"),
        ("[run]\nforce = 'yes'", "[run] force must be true or false"),
        ("[run]\nformat = 'doc'", "user.toml"),
        ("[run]\nhelp = true", "help is not an option"),
        ("api_key_file = 'none'", "none cannot be read"),
    ],
)
def test_a_wrong_line_is_reported_with_its_file(folder: Path, text: str, message: str) -> None:
    user(folder, text)
    result = invoke("run", "x.wav")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "user.toml" in result.stderr


HOSTILE_CONTENT = {
    "not UTF-8": b"\xff\xfe",
    "large": b"x" * 2_000_000,
    "not TOML": b"\0",
    "nested": b"[" * 100_000,
    "number with many digits": b"speed = " + b"1" * 5000,
    "hexadecimal number": b"[run]\nspeed = 0x" + b"f" * 5000,
    "NUL in a path": b'[run]\nout = "a\\u0000b"',
    "link to itself": b'[run]\nout = "loop"',
}


@pytest.mark.parametrize("content", HOSTILE_CONTENT.values(), ids=HOSTILE_CONTENT)
def test_a_hostile_file_is_refused_in_one_message(folder: Path, content: bytes) -> None:
    (folder / "loop").symlink_to("loop")
    (folder / "stt-batch.toml").write_bytes(content)
    result = invoke("status")
    assert (result.exit_code, result.exception.__class__) == (2, SystemExit)
    assert len(result.stderr.splitlines()) <= 2


@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "link to nothing"])
def test_a_path_that_is_not_a_file_is_ignored(folder: Path, kind: str) -> None:
    path = folder / "stt-batch.toml"
    make = {"device": lambda: path.symlink_to("/dev/zero"), "pipe": lambda: os.mkfifo(path)}
    make |= {"folder": path.mkdir, "link to nothing": lambda: path.symlink_to("nothing")}
    make[kind]()
    assert [file.path for file in read_files(os.environ, COMMANDS)] == [folder.parent / "user.toml"]


def test_secrets_come_from_files_and_are_not_shown(folder: Path) -> None:
    (folder.parent / "key").write_text("sesame-12345\n")
    user(folder, 'url = "https://me:pw@host/x?token=abc"\napi_key_file = "key"\nproxy = "u:pw@proxy:3128"')
    assert options.settings_from().api_key.get_secret_value() == "sesame-12345"
    with (folder.parent / "user.toml").open("a") as file:
        file.write('\n[run]\nurl = "https://me:pw@run-host/x?token=abc"\n')
    text = invoke("config").stdout + invoke("config", "--json").stdout
    assert "https://run-host/x" in text
    assert not [secret for secret in ("sesame", "pw", "abc") if secret in text.replace("user.toml", "")]
    assert "https://host/x" in text


def test_none_ignores_both_files_and_a_missing_named_file_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(folder, "speed = 4")
    monkeypatch.setenv("STT_CONFIG", "none")
    assert options.settings_from().speed == 1.0
    monkeypatch.setenv("STT_CONFIG", str(folder / "absent.toml"))
    with pytest.raises(SettingsError, match=r"absent\.toml: cannot be read"):
        options.settings_from()
    monkeypatch.delenv("STT_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "xdg"))
    assert existing_files(os.environ) == [(folder / "stt-batch.toml", True)]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_completion_script(shell: str) -> None:
    result = invoke("completion", shell)
    assert result.exit_code == 0
    assert f"_STT_BATCH_COMPLETE={shell}_complete" in result.stdout
    env = {
        "_STT_BATCH_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": "stt-batch sta",
        "COMP_CWORD": "sta" if shell == "fish" else "1",
    }
    assert "status" in CliRunner().invoke(main, [], env=env, prog_name="stt-batch").stdout


def test_completion_refuses_other_shells() -> None:
    assert invoke("completion", "tcsh").exit_code == 2
