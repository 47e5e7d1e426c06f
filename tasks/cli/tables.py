"""Prints tables and shortens paths for display."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

_WIDE: Final = 10_000
"""Width of tables in files and pipes, in columns: wide enough for every row."""


def show_table(console: Console, table: Table) -> None:
    """Print a table. On a terminal, the table is as wide as the terminal. In a file or pipe, each row is one line, so
    that grep finds whole rows."""
    if console.quiet or console.is_terminal:
        console.print(table)
        return
    wide = Console(width=_WIDE, highlight=False)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def display_path(place: str | Path) -> str:
    """Return a path below the current folder as a path relative to that folder. Other paths and addresses are returned
    unchanged."""
    try:
        return str(Path(place).relative_to(Path.cwd()))
    except ValueError:
        return str(place)
