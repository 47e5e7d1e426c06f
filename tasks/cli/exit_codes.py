"""The exit status of a command, and an exit that skips the interpreter's shutdown.

obstore, a library written in Rust, calls Python from its own threads. A call may still run when the interpreter shuts
down. Before Python 3.14, the interpreter then ends the thread of the call. Rust cannot unwind this thread, so it aborts
the process with exit code 134, although all work is done. This happened at 11 of 100 exits on a busy machine. So a
process that has loaded obstore exits with `os._exit` after all other exit handlers have run.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import Final

from worker.errors import BadJob, LanguageUnsupported, SettingsError, SttError

_NATIVE = "obstore"
FAILED: Final = 1
WRONG_USAGE: Final = 2
INTERRUPTED: Final = 130
"""Exit status after SIGINT: 128 plus the number of the signal, as in shells."""


def exit_status(error: SttError) -> int:
    """Return the exit status of a command that ended with this error."""
    return WRONG_USAGE if isinstance(error, (SettingsError, BadJob, LanguageUnsupported)) else FAILED


class ExitHook:
    """Exit handler that skips the interpreter's shutdown if obstore is loaded. Create the object before any other exit
    handler is registered. Exit handlers run in reverse order, so this handler then runs last."""

    def __init__(self) -> None:
        self.code = 1
        """The exit status after an uncaught exception."""
        atexit.register(self)

    def __call__(self) -> None:
        if _NATIVE not in sys.modules:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # the stream is closed, or its reader has ended
                stream.flush()
        os._exit(self.code)
