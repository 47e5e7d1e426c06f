"""Refuses a file without content before it is decoded."""

from __future__ import annotations

from worker.audio.opened_file import SourceFile
from worker.errors import DamagedSource


def check_not_empty(file: SourceFile) -> None:
    """Check that a file is not empty. Raises DamagedSource for an empty file, WorkerShortage if it cannot be read
    now."""
    if not file.stamp().size_bytes:
        raise DamagedSource(f"{file}: the file is empty (0 bytes)")
