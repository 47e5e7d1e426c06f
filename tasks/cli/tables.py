"""Prints tables and shortens paths for display."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

_WIDE: Final = 10_000
"""Width of tables in files and pipes, in columns: wide enough for every row."""


def show_table(console: Console, table: Table) -> None:
    """Print a table. On a terminal it has the width of the terminal; in a file or pipe each row is one line, for
    grep."""
    if console.quiet or console.is_terminal:
        console.print(table)
        return
    wide = Console(width=_WIDE, highlight=False)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), markup=False, soft_wrap=True)


def display_path(place: str | Path) -> str:
    """A path relative to the current folder if it is below that, or the display form of an address."""
    try:
        return str(Path(place).relative_to(Path.cwd()))
    except ValueError:
        return str(place)
