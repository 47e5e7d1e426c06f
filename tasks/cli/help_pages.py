"""The end of each command's help: its examples, and the page of the documentation about it."""

from __future__ import annotations

import inspect
from typing import Final

import click

PAGES: Final = {
    "run": "guides/folder.md",
    "studio": "guides/console.md#on-your-own-machine",
    "submit": "guides/service.md#from-the-shell",
    "watch": "guides/folder.md#watch-a-folder",
    "status": "guides/folder.md#follow-the-work",
    "list": "guides/folder.md#follow-the-work",
    "cancel": "guides/service.md#from-the-shell",
    "pause": "guides/service.md#from-the-shell",
    "resume": "guides/operator.md#a-paused-key",
    "retry": "guides/operator.md#failed-jobs-and-dead-letters",
    "export": "guides/transcripts.md",
    "apply": "guides/transcripts.md",
    "delete": "guides/operator.md#delete-data",
    "ledger": "guides/operator.md#back-up-and-restore",
    "plan": "guides/folder.md#many-sources-at-once",
    "worker": "guides/operator.md",
    "intake": "guides/produce-jobs.md#add-an-entry-to-the-intake-stream",
    "server": "guides/self-hosted.md",
    "api": "guides/http-api.md",
    "webhooks": "guides/service.md#webhooks",
    "doctor": "guides/operator.md#check-an-installation",
    "config": "guides/settings-files.md",
    "schema": "reference/transcript.md",
    "health": "guides/operator.md#monitoring",
    "completion": "guides/settings-files.md#completion",
}
"""Command -> page below `docs/`."""
_MARK: Final = "\b\n"


def add_help_end(name: str, command: click.Command) -> None:
    """Move the examples of a command's help behind its options, and add its page. Calling it again changes nothing."""
    if command.epilog is not None or name not in PAGES:
        return
    paragraphs = inspect.cleandoc(command.help or "").split("\n\n")
    examples = [text for text in paragraphs if text.removeprefix(_MARK).startswith("Example")]
    command.help = "\n\n".join(text for text in paragraphs if text not in examples)
    command.epilog = "\n\n".join([*examples, f"{_MARK}Documentation: docs/{PAGES[name]}"])
