"""Ends a run before its disk is full, while the ledger can still be written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from worker.errors import StackError

MIN_FREE_BYTES: Final = 1 << 20
"""Minimum free bytes. With less, the ledger can soon no longer be written."""


def check_free_space(folder: Path) -> None:
    """Check that the disk of the state folder `folder` is not full. Raises StackError."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < MIN_FREE_BYTES:
        raise StackError(
            f"no space left on the disk of {folder.parent} ({free_bytes // 1024} KB free); make room, "
            "then run the same command again to continue"
        )
