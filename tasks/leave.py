"""The end of a process in which a thread may not end."""

from __future__ import annotations

import logging
import os
import threading
import time


def leave_soon(status: int, after_s: float) -> None:
    """End the process with `status` after some seconds if it has not ended by then. Python waits for every thread at
    its end, also for one that hashes many gigabytes or resolves the name of a host."""

    def leave() -> None:
        time.sleep(after_s)
        logging.shutdown()
        os._exit(status)

    threading.Thread(target=leave, name="stt-leave", daemon=True).start()


__all__ = ["leave_soon"]
