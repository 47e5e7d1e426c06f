"""Reads README.md and the pages of the documentation, and describes all settings as a table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import dropwhile
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from worker.http_settings import HttpSettings
from worker.recognizer_settings import RecognizerSettings
from worker.settings import Settings, show_speed

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SITE = ROOT / "docs"


def pages() -> list[Path]:
    """README.md and all pages of the documentation."""
    return [README, *sorted(SITE.rglob("*.md"))]


_BLOCK = re.compile(
    r"^(?P<indent> *)(?:<!-- (?P<mark>not run|run by): (?P<reason>.+?) -->\n\n? *)?"
    r"```(?P<language>\w*)\n(?P<code>.*?)^ *```",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """A code block of a page. `mark`: `run by` (a test, named in `reason`), `not run` (for that reason), or empty."""

    page: Path
    mark: str
    reason: str
    language: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.name}: {self.code.strip().splitlines()[0][:60] if self.code.strip() else self.language}"


def code_blocks(page: Path) -> Iterator[CodeBlock]:
    """All code blocks of a page, in order."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield CodeBlock(page, found["mark"] or "", found["reason"] or "", found["language"], found["code"])


def shell_commands(code: str) -> list[list[str]]:
    """Each command of a `sh` block as its words: without comments and variables before it, `a && b` split."""
    lines = code.replace("\\\n", " ").splitlines()
    commands: list[list[str]] = []
    for line in lines:
        words = shlex.split(line, comments=True)
        while "&&" in words:
            at = words.index("&&")
            commands.append(words[:at])
            words = words[at + 1 :]
        commands.append(words)
    commands = [list(dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words)) for words in commands]
    return [words for words in commands if words]


def text() -> str:
    """Return the text of all pages."""
    return "\n\n".join(page.read_text(encoding="utf-8") for page in pages())


def settings_table() -> str:
    """Return a Markdown table of all settings in the order of their definition."""
    rows = ["| variable | default | meaning |", "| --- | --- | --- |"]
    parts = {**RecognizerSettings.model_fields, **HttpSettings.model_fields}
    own = {name: field for name, field in Settings.model_fields.items() if name not in parts}
    for name, field in {**own, **parts}.items():
        rows.append(f"| `STT_{name.upper()}` | {_default(name, field.default)} | {field.description} |")
    return "\n".join(rows)


def _default(name: str, value: Any) -> str:
    shown = default_of(name, value)
    return f"`{shown}`" if shown else ""


def default_of(name: str, value: Any) -> str:
    """Return the default `value` of the setting `name` in the form of an environment variable."""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, timedelta):
        value = int(value.total_seconds())
    if name == "speed":
        value = show_speed(value)
    return str(value)


def pasted_verify() -> dict[str, Any]:
    """Run the documentation's example code for receivers of webhooks. Returns the names that it defines, with their
    values; the
    function `verify` is one of them."""
    code = re.search(r"```python\n([^`]*?def verify.*?)```", text(), re.DOTALL)
    assert code, "the documentation has no example named verify"
    scope: dict[str, Any] = {}
    exec(code[1], scope)  # noqa: S102  as if a reader pasted it
    return scope
