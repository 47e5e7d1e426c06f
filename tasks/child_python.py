"""Commands and environments for child processes that run this package with the same Python."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).resolve().parents[1]


def cli_command(*arguments: str) -> list[str]:
    """Return the command that runs `stt-batch ARGUMENTS`."""
    return [sys.executable, "-P", "-m", "tasks.cli", *arguments]


def python_path() -> str:
    """Return PYTHONPATH for a child process. It contains the folder of this package, even if the package is not
    installed, but not the current folder."""
    given = os.environ.get("PYTHONPATH")
    return os.pathsep.join([str(_ROOT), *([given] if given else [])])


__all__ = ["cli_command", "python_path"]
