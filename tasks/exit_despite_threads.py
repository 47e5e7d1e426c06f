"""Ends a process even if one of its threads still runs."""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import Final

LINGER_S: Final = 2.0
"""Maximum seconds that threads may continue after the worker has ended."""


def leave_soon(status: int, after_s: float = LINGER_S) -> None:
    """End the process with `status` after `after_s` seconds, unless it ends earlier. Returns at once. Without this
    call, Python waits at exit for every thread, even for a thread that hashes many gigabytes or resolves a host
    name."""

    def leave() -> None:
        time.sleep(after_s)
        logging.shutdown()
        os._exit(status)

    threading.Thread(target=leave, name="stt-leave", daemon=True).start()


__all__ = ["leave_soon"]
