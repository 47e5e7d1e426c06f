"""Reads README.md, and generates its settings table from `worker.settings.Settings`.

python -m tests.support.readme        updates the table
"""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from worker.settings import Settings, show_speed

PATH = Path(__file__).resolve().parents[2] / "README.md"
BEGIN = "<!-- settings: made by python -m tests.support.readme -->"
END = "<!-- end of settings -->"


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
    """Run README's example code for receivers of webhooks. Returns the names that it defines, with their values; the
    function `verify` is one of them."""
    code = re.search(r"```python\n([^`]*?def verify.*?)```", PATH.read_text("utf-8"), re.DOTALL)
    assert code, "README has no example named verify"
    scope: dict[str, Any] = {}
    exec(code[1], scope)  # noqa: S102  as if a reader pasted it
    return scope


def with_table(text: str) -> str:
    """Return `text` (README.md) with the table between the comments `BEGIN` and `END` replaced by the current one."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n{settings_table()}\n{END}{tail}"


if __name__ == "__main__":
    PATH.write_text(with_table(PATH.read_text(encoding="utf-8")), encoding="utf-8")
