"""The command `stt-batch config`, which shows each setting with the place that sets it."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from tasks.cli import options
from tasks.cli.command_names import COMMANDS
from tasks.cli.config_files.location import user_file
from tasks.cli.config_files.reading import ConfigFile, in_environment, read_files, setting_defaults
from tasks.cli.tables import show_table
from tasks.cli.terminal_output import echo_json, safe
from worker.secret_masking import show_url
from worker.settings import SECRET_SETTINGS, Settings
from worker.speed_option import show_speed

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class ShownValue:
    """One setting or option. `origin`: `default`, the environment variable, or the path of the file."""

    name: str
    value: str
    origin: str


@click.command(short_help="Show each setting with its value and its origin.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--changed", is_flag=True, help="Only the settings that do not have their default.")
@options.as_json
def command(names: tuple[str, ...], changed: bool, as_json: bool) -> None:
    """Show the settings with their values, and where each value comes from: the environment, the file stt-batch.toml of
    the project or of the user, or the default. Without NAME: all of them. Secrets are not shown.

    Options win over the environment, the environment over the project's file, and that over the user's file. The
    project's file is the nearest stt-batch.toml in the current folder and those above it. It cannot set addresses,
    secrets or allow-lists. The user's file is ~/.config/stt-batch/stt-batch.toml, or STT_CONFIG.

    \b
    Examples:
      stt-batch config
      stt-batch config speed worker_sessions
      stt-batch config --changed --json
    """
    files = read_files(os.environ, COMMANDS)
    settings = options.settings_from()
    shown = [*shown_settings(settings, files, os.environ), *_shown_options(files)]
    if names:
        shown = _named(shown, names)
    if changed:
        shown = [one for one in shown if one.origin != DEFAULT]
    if as_json:
        places = {"user_file": str(user_file(os.environ)), "files": [str(file.path) for file in files]}
        values = [{"name": one.name, "value": one.value, "origin": one.origin} for one in shown]
        echo_json({**places, "values": values})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("origin", overflow="fold")
    for one in shown:
        table.add_row(safe(one.name), safe(one.value), safe(one.origin))
    console = Console(highlight=False)
    show_table(console, table)
    if not files:
        console.print(
            f"no stt-batch.toml; that of the user would be {safe(str(user_file(os.environ)))}", soft_wrap=True
        )


def shown_settings(settings: Settings, files: Collection[ConfigFile], environ: Mapping[str, str]) -> list[ShownValue]:
    """Return all settings with their values and origins. Secrets are masked."""
    from_file = setting_defaults(files, environ)
    return [
        ShownValue(name, _value(name, getattr(settings, name)), _origin(name, from_file, environ))
        for name in Settings.model_fields
    ]


def _origin(name: str, from_file: Mapping[str, tuple[Any, Path]], environ: Mapping[str, str]) -> str:
    variable = f"STT_{name.upper()}"
    if in_environment(name, environ):
        file = f"{variable}_FILE"
        return variable if name not in SECRET_SETTINGS or environ.get(variable) or not environ.get(file) else file
    return str(from_file[name][1]) if name in from_file else DEFAULT


def _value(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else ""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}"
    if name == "speed":
        return show_speed(value)
    return _text(value, is_address=name == "proxy")


def _text(value: Any, *, is_address: bool = False) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and ("://" in value or is_address):
        return ",".join(show_url(part) if "://" in part else part.rpartition("@")[2] for part in value.split(","))
    return str(value)


def _shown_options(files: Collection[ConfigFile]) -> list[ShownValue]:
    found: dict[str, ShownValue] = {}
    for file in files:
        for command_name, values in file.options.items():
            for option, value in values.items():
                name = f"{command_name} --{option}"
                found[name] = ShownValue(name, _text(value), str(file.path))
    return list(found.values())


def _named(shown: list[ShownValue], names: tuple[str, ...]) -> list[ShownValue]:
    known = {one.name: one for one in shown}
    wanted = []
    for name in names:
        bare = name.lower().removeprefix("stt_").replace("-", "_")
        if bare not in known:
            close = get_close_matches(bare, known, n=1)
            raise click.UsageError(f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else ""))
        wanted.append(known[bare])
    return wanted
