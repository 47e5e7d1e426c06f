"""Loads the recognizer in a thread while the rest of the service is imported and starts to listen.

Loading is mostly work of libraries without the lock of the interpreter (GIL), so it runs beside the imports.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future

from worker.server import recognizers
from worker.server.recognizers import Recognizer, RecognizerLoader
from worker.settings import Settings


def load_in_background(settings: Settings) -> RecognizerLoader:
    """Start to load the recognizer. The returned function waits for the result, and raises the error of the load."""
    result: Future[Recognizer] = Future()

    def work() -> None:
        try:
            result.set_result(recognizers.load(settings))
        except BaseException as exc:  # noqa: BLE001  raised where the recognizer is needed
            result.set_exception(exc)

    # A daemon thread, so that the process can end while a model is being downloaded.
    threading.Thread(target=work, name="load-recognizer", daemon=True).start()
    return result.result
