"""Reads README.md and the pages of the documentation, and describes all settings as a table."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from worker.settings import Settings, show_speed

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
SITE = ROOT / "docs"


def pages() -> list[Path]:
    """README.md and all pages of the documentation."""
    return [README, *sorted(SITE.rglob("*.md"))]


def text() -> str:
    """Return the text of all pages."""
    return "\n\n".join(page.read_text(encoding="utf-8") for page in pages())


def settings_table() -> str:
    """Return a Markdown table of all settings in the order of their definition."""
    rows = ["| variable | default | what it is |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `STT_{name.upper()}` | {_default(name, field.default)} | {field.description} |")
    return "\n".join(rows)


def _default(name: str, value: Any) -> str:
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, timedelta):
        value = int(value.total_seconds())
    if name == "speed":
        value = show_speed(value)
    return f"`{value}`" if value != "" else ""


def pasted_verify() -> dict[str, Any]:
    """Run the documentation's example code for receivers of webhooks. Returns the names that it defines, with their
    values; the
    function `verify` is one of them."""
    code = re.search(r"```python\n([^`]*?def verify.*?)```", text(), re.DOTALL)
    assert code, "the documentation has no example named verify"
    scope: dict[str, Any] = {}
    exec(code[1], scope)  # noqa: S102  as if a reader pasted it
    return scope
