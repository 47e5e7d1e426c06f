"""Reads docker-compose.yml as Compose does, without a container engine.

Variables are interpolated as in the Compose specification: https://github.com/compose-spec/compose-spec/blob/main/12-interpolation.md
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.yaml_files import read_yaml

PATH = Path(__file__).resolve().parents[2] / "docker-compose.yml"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r":?[-+?]")


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """Replace `$NAME` and `${NAME}` in a text by values of `environ`. `${NAME:-default}` and the other operators of
    Compose are supported, also nested. `$$` becomes a dollar sign. Raises ValueError for invalid syntax or a missing
    value."""
    out, at = [], 0
    while (dollar := text.find("$", at)) >= 0:
        out.append(text[at:dollar])
        if text.startswith("$$", dollar):
            out.append("$")
            at = dollar + 2
        elif text.startswith("${", dollar):
            end = _closing(text, dollar + 2)
            out.append(_value(text[dollar + 2 : end], environ))
            at = end + 1
        else:
            name = _NAME.match(text, dollar + 1)
            if name is None:
                raise ValueError(f"a dollar that begins nothing: {text[dollar : dollar + 20]!r}")
            out.append(environ.get(name.group(), ""))
            at = name.end()
    return "".join([*out, text[at:]])


def _closing(text: str, at: int) -> int:
    depth = 1
    while depth:
        if text.startswith("${", at):
            depth, at = depth + 1, at + 2
            continue
        depth -= text[at] == "}"
        at += 1
    return at - 1


def _value(expression: str, environ: Mapping[str, str]) -> str:
    name = _NAME.match(expression)
    if name is None:
        raise ValueError(f"no name in {expression!r}")
    rest = expression[name.end() :]
    value = environ.get(name.group())
    if not rest:
        return value or ""
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise ValueError(f"no operator in {expression!r}")
    word = rest[operator.end() :]
    given = bool(value) if rest.startswith(":") else value is not None
    match operator.group()[-1]:
        case "-":
            return str(value) if given else interpolate(word, environ)
        case "+":
            return interpolate(word, environ) if given else ""
        case _:
            if not given:
                raise ValueError(f"{name.group()} is needed: {word}")
            return str(value)


@cache
def _parsed() -> dict[str, Any]:
    """The file with its variables."""
    file = read_yaml(PATH)
    assert isinstance(file, dict)
    return file


def load(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Parse docker-compose.yml, with variables replaced by their values in `environ` and with YAML merges resolved.

    A variable of a service without a value gets its value from `environ`, and is removed if `environ` has none."""
    environ = environ or {}
    file = dict(_filled(_parsed(), environ))
    for service in file["services"].values():
        given = {name: environ.get(name) if value is None else value for name, value in _environment(service)}
        service["environment"] = {name: value for name, value in given.items() if value is not None}
    return file


def passed_through(service: str) -> set[str]:
    """Return the variables that a service gets only if they are set for Compose."""
    file = _parsed()
    return {name for name, value in _environment(file["services"][service]) if value is None}


def _environment(service: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return dict(service.get("environment", {})).items()


def _filled(node: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _filled(value, environ) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled(item, environ) for item in node]
    return interpolate(node, environ) if isinstance(node, str) else node


def variables() -> set[str]:
    """Return the names of all environment variables that docker-compose.yml uses."""
    text = PATH.read_text(encoding="utf-8").replace("$$", "")
    return set(re.findall(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", text))
