"""The embedded stack of `stt-batch run`: Valkey, service and worker as child processes with a supervisor."""

from typing import Final

STATE_FOLDER: Final = ".stt-batch"
"""Folder in the output folder with the state of its runs."""
