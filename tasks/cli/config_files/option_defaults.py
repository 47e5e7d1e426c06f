"""Makes the options of `stt-batch.toml` the defaults of a command's options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from tasks.cli.config_files.reading import ConfigFile, in_environment
from worker.errors import SettingsError
from worker.settings import Settings

_SETTING_OF: Final = {"glossary_file": "glossary", "api_key_file": "api_key"}
"""Names of parameters that set a setting with another name."""


def option_defaults(
    command: click.Command, name: str, files: Sequence[ConfigFile], environ: Mapping[str, str]
) -> dict[str, tuple[Any, Path]]:
    """Return the defaults of a command's parameters that the files set, with the file of each. Later files win. An
    option whose setting is in the environment is left out, because the environment wins over files.

    Raises SettingsError for an option that the command does not have."""
    known = {long: parameter for parameter in command.params for long in _long_names(parameter)}
    found: dict[str, tuple[Any, Path]] = {}
    for file in files:
        for option, value in file.options.get(name, {}).items():
            parameter = known.get(option)
            if parameter is None or parameter.name is None:
                close = get_close_matches(option, list(known), n=1)
                hint = f"; did you mean {close[0]}?" if close else f"; see `stt-batch {name} --help`"
                raise SettingsError(f"{file.path}: [{name}] {option} is not an option of this command{hint}")
            setting = _SETTING_OF.get(parameter.name, parameter.name)
            if not (setting in Settings.model_fields and in_environment(setting, environ)):
                found[parameter.name] = (_value(parameter, value, f"{file.path}: [{name}] {option}"), file.path)
    return found


def _long_names(parameter: click.Parameter) -> list[str]:
    if not isinstance(parameter, click.Option) or parameter.is_eager or not parameter.expose_value:
        return []
    return [name.removeprefix("--") for name in parameter.opts if name.startswith("--")]


def _value(parameter: click.Parameter, value: Any, place: str) -> Any:
    if getattr(parameter, "is_flag", False) != isinstance(value, bool):
        raise SettingsError(f"{place} must be {'true or false' if not isinstance(value, bool) else 'a value'}")
    if isinstance(value, bool):
        return value
    return str(value).split(",") if parameter.multiple else str(value)
