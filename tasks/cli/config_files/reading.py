"""Finds and reads the files `stt-batch.toml`.

The names at the top of a file are settings, `speed` for STT_SPEED. A table has the options of one command, `[run]`
with `format` for `--format`. The order of precedence is: options, environment, the project's file, the user's file,
defaults.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from tasks.cli.config_files import project_rules
from tasks.cli.config_files.location import VARIABLE, existing_files
from worker.errors import SettingsError
from worker.secret_files import read as read_secret
from worker.settings import SECRET_SETTINGS, Settings

MAX_BYTES: Final = 1_000_000
MAX_INTEGER: Final = 2**63 - 1
"""Largest integer of TOML. tomllib also reads larger ones, which Python may refuse to convert to text."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The content of one file."""

    path: Path
    is_project: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Values by name of the setting."""
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Values by command and by long name of the option, without `--`."""


def read_files(environ: Mapping[str, str], commands: Collection[str]) -> list[ConfigFile]:
    """Read the user's file and then that of the project, if they exist. `commands`: names of the commands.

    Raises SettingsError if a file cannot be read or contains an unknown name, or if STT_CONFIG names a missing file."""
    return [_read(path, commands, is_project=is_project) for path, is_project in existing_files(environ)]


def _read(path: Path, commands: Collection[str], *, is_project: bool) -> ConfigFile:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise SettingsError(f"{path}: is larger than {MAX_BYTES:,} bytes, too large for a file of settings")
        document = tomllib.loads(content.decode("utf-8-sig"))
    except OSError as exc:
        raise SettingsError(f"{path}: cannot be read ({exc.strerror}); correct it, or set {VARIABLE}") from None
    except (ValueError, RecursionError) as exc:  # also the plain ValueError of an integer with thousands of digits
        raise SettingsError(f"{path}: is not valid TOML: {exc}") from None
    return parse(document, path, commands, is_project=is_project)


def parse(document: Mapping[str, Any], path: Path, commands: Collection[str], *, is_project: bool) -> ConfigFile:
    """Check the content of a file. Raises SettingsError."""
    settings: dict[str, Any] = {}
    options: dict[str, dict[str, Any]] = {}
    for key, value in document.items():
        name = key.replace("-", "_")
        if key in commands and isinstance(value, dict):
            options[key] = {
                option: _allowed(option, _option_value(path, option, one), path, project_rules.OPTIONS, is_project)
                for option, one in ((word.replace("_", "-"), one) for word, one in value.items())
            }
        elif name in Settings.model_fields:
            settings[name] = _allowed(name, _setting_value(path, name, value), path, project_rules.SETTINGS, is_project)
        elif name.removesuffix("_file") in SECRET_SETTINGS:
            _allowed(name, value, path, project_rules.SETTINGS, is_project)
            settings[name.removesuffix("_file")] = read_secret(path.parent / str(value), f"{path}: {key}")
        else:
            raise SettingsError(f"{path}: {key} is not a setting{_similar(name, commands)}")
    return ConfigFile(path, is_project, settings, options)


def _allowed(name: str, value: Any, path: Path, allowed: frozenset[str], is_project: bool) -> Any:
    return project_rules.check(name, value, path, allowed) if is_project else value


def _similar(name: str, commands: Collection[str]) -> str:
    bare = name.lower().removeprefix("stt_")
    if bare in Settings.model_fields:
        return f"; write {bare}"
    close = get_close_matches(bare, [*Settings.model_fields, *commands], n=1)
    if not close:
        return " or a command; `stt-batch config` lists the settings"
    return f"; did you mean {f'[{close[0]}]' if close[0] in commands else close[0]}?"


def _setting_value(path: Path, name: str, value: Any) -> Any:
    """Convert a TOML value to the form of the environment: a list is comma-separated, a table is a JSON object."""
    if name == "session_options" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return _plain(path, name, value)


def _option_value(path: Path, name: str, value: Any) -> Any:
    if name == "session-options" and isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return _plain(path, name, value)


def _plain(path: Path, name: str, value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(one, str) and "," not in one for one in value):
        return ",".join(value)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise SettingsError(f"{path}: {name} must be a number of at most 64 bits")
    if isinstance(value, (str, int, float, bool)):
        return value
    raise SettingsError(f"{path}: {name} must be a text, a number, true, false or a list of texts without commas")


def setting_defaults(files: Collection[ConfigFile], environ: Mapping[str, str]) -> dict[str, tuple[Any, Path]]:
    """Return the settings of the files that the environment does not set, with the file of each. Later files win."""
    found = {name: (value, file.path) for file in files for name, value in file.settings.items()}
    return {name: value for name, value in found.items() if not in_environment(name, environ)}


def in_environment(name: str, environ: Mapping[str, str]) -> bool:
    """Whether the environment sets a setting. An empty variable counts as not set, except STT_PROXY: it means no
    proxy."""
    variable = f"STT_{name.upper()}"
    # pydantic-settings ignores the case of the names.
    value = next((text for key, text in environ.items() if key.upper() == variable), None)
    if name == "proxy" and value is not None:
        return True
    return bool(value) or (name in SECRET_SETTINGS and bool(environ.get(f"{variable}_FILE")))


def named_by_file(error: str, files: Mapping[str, tuple[Any, Path]]) -> str:
    """Return an error about settings that names the file of each wrong value, instead of its variable."""
    for name, (_, path) in files.items():
        place = f"{path}: {name}".replace("\\", r"\\")
        error = re.sub(rf"\bSTT_{name.upper()}\b", place, error)
    return error
