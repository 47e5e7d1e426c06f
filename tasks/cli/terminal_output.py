"""Prints the text of all commands. Names, ids and errors may come from untrusted sources, so they are escaped."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import click

from worker.text_escaping import printable, printable_lines


def echo(text: str, *, err: bool = False) -> None:
    """Print one line on standard output or, if `err`, on standard error."""
    click.echo(printable(text), err=err)


def echo_error(text: str) -> None:
    """Print an error on standard error. All lines but the first are indented, so that they do not look like separate
    messages."""
    click.echo("\n    ".join(printable_lines(text).split("\n")), err=True)


def echo_json(document: Any, *, indent: int | None = 2) -> None:
    """Print a JSON document on standard output, on one line if `indent` is None."""
    echo_text(json.dumps(document, ensure_ascii=False, indent=indent))


def echo_json_list(document: Mapping[str, Any], name: str, items: Iterable[Any]) -> None:
    """Print `document` as `echo_json` does, with `items` in its empty list `name`. Only one item at a time is in
    memory."""
    start, empty, end = json.dumps(document, ensure_ascii=False, indent=2).partition(f'\n  "{name}": []')
    if not empty:
        raise ValueError(f"the document has no empty list {name!r}")
    separator = f'{start}\n  "{name}": [\n'
    for item in items:
        text = json.dumps(item, ensure_ascii=False, indent=2).replace("\n", "\n    ")
        click.echo(printable_lines(f"{separator}    {text}"), nl=False)
        separator = ",\n"
    echo_text(f"\n  ]{end}" if separator == ",\n" else f"{start}{empty}{end}")


def echo_text(text: str) -> None:
    """Print trusted text of several lines, or a JSON document, on standard output without escaping."""
    click.echo(printable_lines(text))


def echo_bytes(content: bytes) -> None:
    """Write a file's content to standard output, unchanged into a file or pipe. On a terminal it is escaped, because a
    transcript contains text from outside."""
    if sys.stdout.isatty():
        click.echo(printable_lines(content.decode("utf-8-sig", "replace")), nl=False)
    else:
        click.echo(content, nl=False)


def discard_output() -> None:
    """Discard what standard output has buffered, because it cannot be written. Otherwise Python would try it again at
    the end of the process and print a second error."""
    with suppress(OSError, ValueError):  # a stream without a descriptor, or a closed one
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def safe(text: str) -> str:
    """Escape untrusted text for Rich markup, on one line."""
    from rich import markup  # noqa: PLC0415  not for `stt-batch health`, which runs every few seconds

    return markup.escape(printable(text))
