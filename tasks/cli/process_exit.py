"""How the process of a command ends: its exit status, and an end without the interpreter's last steps.

obstore answers Python from threads of its own. One of them can still be on its way out of the answer when the
interpreter shuts down; before Python 3.14 the interpreter then ends that thread, Rust cannot be unwound, and the whole
process is aborted: exit code 134 after all work was done (11 of 100 ends on a busy machine). So a process that has
loaded obstore leaves without the interpreter's last steps, once everything that waits for an end has had its turn.
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
"""128 and the number of SIGINT, as shells report it."""


def exit_status(error: SttError) -> int:
    """The exit status of a command that ended with this error."""
    return WRONG_USAGE if isinstance(error, (SettingsError, BadJob, LanguageUnsupported)) else FAILED


class Leaving:
    """Registered before anything else registers for the end, so it is called after all of them."""

    def __init__(self) -> None:
        self.code = 1
        """The exit status after an uncaught exception."""
        atexit.register(self)

    def __call__(self) -> None:
        if _NATIVE not in sys.modules:
            return
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError, AttributeError):  # closed, or whoever read it is gone
                stream.flush()
        os._exit(self.code)
