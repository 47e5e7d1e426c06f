"""Values that the shell completes for arguments and options: file names, and lists of formats.

click completes file names only for parameters of the type `click.Path`. Sources have the type `str`, because they can
also be URLs and patterns."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from tasks.job_spec import FORMATS


def complete_files(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete names of files and folders."""
    return [CompletionItem(incomplete, type="file")]


def complete_formats(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the last format of a comma-separated list with the formats that the list does not contain."""
    before, comma, last = incomplete.rpartition(",")
    given = before.split(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in FORMATS if name.startswith(last) and name not in given]
