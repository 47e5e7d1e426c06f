"""Hashes of files at a path. The program itself only hashes files that it has opened."""

from __future__ import annotations

from pathlib import Path

from worker.audio.opened_file import SourceFile
from worker.audio.source import sha256_of


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file at `path`. Raises the errors of `sha256_of`, and SourceNotFound."""
    with SourceFile.at(path) as file:
        return sha256_of(file)
