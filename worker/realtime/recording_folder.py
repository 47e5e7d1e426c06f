"""Checks the folder of session recordings (STT_RECORD_DIR) before the first session."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

from worker.settings import Settings


def folder_problem(settings: Settings) -> str | None:
    """Return why sessions cannot be recorded in STT_RECORD_DIR, with the remedy. None if they can, or if the setting is
    empty. Creates the folder, as the first recording would."""
    if not settings.record_dir:
        return None
    folder = Path(settings.record_dir)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file without a name is written and disappears by itself.
        with TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else str(exc)
        return (
            f"STT_RECORD_DIR: sessions cannot be recorded in {os.fspath(folder)} ({reason}); name a folder that this"
            " user may write"
        )
    return None
