"""Shows the summary page of a run in the user's browser."""

from __future__ import annotations

from pathlib import Path

from tasks.cli.tables import display_path
from tasks.cli.terminal_output import echo_error


def open_page(page: Path) -> None:
    """Show a page in the user's browser. Prints a warning if there is none."""
    import webbrowser  # noqa: PLC0415  only for this option

    try:
        opened = webbrowser.open(page.absolute().as_uri())
    except (webbrowser.Error, OSError):
        opened = False
    if not opened:
        echo_error(f"warning: no browser could be started; open {display_path(page)} yourself")
