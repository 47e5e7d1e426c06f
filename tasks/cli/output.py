"""All text that the commands show passes through here, since names, ids and errors come from others."""

from __future__ import annotations

import json
from typing import Any

import click

from worker.printable import printable, printable_lines


def echo(text: str, *, err: bool = False) -> None:
    """One line on standard output, or on standard error."""
    click.echo(printable(text), err=err)


def echo_error(text: str) -> None:
    """An error on standard error. Further lines of it are indented, so that none can pass for a line of ours."""
    click.echo("\n    ".join(printable_lines(text).split("\n")), err=True)


def echo_json(document: Any, *, indent: int | None = 2) -> None:
    """A document for programs on standard output, in one line where `indent` is None."""
    echo_text(json.dumps(document, ensure_ascii=False, indent=indent))


def echo_text(text: str) -> None:
    """Text of several lines that is ours, or a JSON document, on standard output."""
    click.echo(printable_lines(text))


def safe(text: str) -> str:
    """Text from others as it may stand in Rich markup, on one line."""
    from rich import markup  # noqa: PLC0415  not for `stt-batch health`, which runs every few seconds

    return markup.escape(printable(text))
