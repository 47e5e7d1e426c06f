"""Writes the file .env.example: the settings of docker-compose.yml, with their defaults as comments.

The part above MARK is written by hand. Below it, every other variable of docker-compose.yml is listed."""

from __future__ import annotations

import re
import textwrap

from tests.support import compose, readme
from worker.settings import SECRET_SETTINGS, Settings

PATH = compose.PATH.with_name(".env.example")
MARK = "# -- all other settings, with their defaults --\n"
_OTHERS = {
    "AWS_": "Object stores with s3:// addresses",
    "GOOGLE_": "Google Cloud Storage, see docs/guides/operator.md; files that they name must be mounted",
    "AZURE_": "Azure storage, see docs/guides/operator.md",
    "OTEL_": "Traces, see docs/guides/operator.md",
}
_PROXIES = "Proxies, see docs/guides/proxy.md"


def variables() -> list[str]:
    """Return all variables that docker-compose.yml reads, settings first."""
    file = compose.load()
    given = compose.variables().union(*(compose.passed_through(name) for name in file["services"]))
    settings = [f"STT_{name.upper()}" for name in Settings.model_fields]
    return [
        *(name for name in settings if name in given),
        *sorted(given - set(settings), key=lambda name: (_comment(name), name)),
    ]


def text() -> str:
    head = PATH.read_text(encoding="utf-8").partition(MARK)[0]
    written = set(re.findall(r"^#([A-Z_0-9]+)=", head, re.MULTILINE))
    lines: list[str] = []
    shown = ""
    for name in variables():
        if name in written:
            continue
        comment = _comment(name)
        lines += (
            [] if comment == shown else ["", *textwrap.wrap(comment, 116, initial_indent="# ", subsequent_indent="# ")]
        )
        shown = comment
        lines.append(f"#{name}={_default(name)}")
    return head + MARK + "\n".join(lines).lstrip("\n") + "\n"


def _comment(name: str) -> str:
    setting = name.removeprefix("STT_").lower()
    if setting in Settings.model_fields:
        return str(Settings.model_fields[setting].description)
    if name.endswith("_FILE") and setting.removesuffix("_file") in SECRET_SETTINGS:
        return f"Path of a file with the value of {name.removesuffix('_FILE')}"
    return next((text for start, text in _OTHERS.items() if name.startswith(start)), _PROXIES)


def _default(name: str) -> str:
    """Return the default in docker-compose.yml, or that of the setting."""
    found = re.search(rf"\$\{{{name}:?-([^}}$]+)\}}", compose.PATH.read_text(encoding="utf-8"))
    if found:
        return found[1]
    setting = name.removeprefix("STT_").lower()
    if setting not in Settings.model_fields or setting in SECRET_SETTINGS:
        return ""
    return readme.default_of(setting, Settings.model_fields[setting].default)


__all__ = ["MARK", "PATH", "text", "variables"]
