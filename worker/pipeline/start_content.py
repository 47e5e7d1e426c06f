"""The content that a source had at the start of its job, as JSON for the ledger. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pydantic import TypeAdapter


@dataclass(frozen=True, slots=True)
class StartContent:
    """Identifies the content that the source had at the start of the job. Later attempts require the same content."""

    stamp: str | None = None
    """Size, times, inode and device of a local file when it was opened, as `worker.audio.opened_file.FileStamp` writes
    them. None for a downloaded source."""
    sha256: str | None = None
    """SHA-256 of the content in hexadecimal, or None while it is unknown."""


_START_CONTENT: Final = TypeAdapter(StartContent)


def start_content_json(content: StartContent) -> str:
    """Return `content` as JSON for the ledger. The field names must not change: ledgers of older versions have them."""
    return _START_CONTENT.dump_json(content).decode()


def read_start_content(text: str) -> StartContent:
    """Parse the output of `start_content_json`."""
    return _START_CONTENT.validate_json(text)
