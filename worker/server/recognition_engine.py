"""Loads the recognizer in the background and provides it to all sessions of the process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import structlog

from worker.server.endpointing import EndpointingRules, endpointing_rules
from worker.server.recognition_scheduler import RecognitionScheduler
from worker.server.recognizers import Recognizer, RecognizerLoader
from worker.settings import Settings

_log = structlog.get_logger("worker.server")
_LOAD_WAIT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class RecognitionEngine:
    """The recognizer, its threads and the endpointing rules, shared by all sessions."""

    recognizer: Recognizer
    scheduler: RecognitionScheduler
    segmenter_thread: Executor
    """Runs the speech segmenters: resampling and voice activity detection."""
    rules: EndpointingRules


class EngineLoader:
    """Loads the engine in the background and provides it. All methods must be called on the event loop."""

    def __init__(self, settings: Settings, recognizer: Recognizer | RecognizerLoader) -> None:
        """`recognizer`: a loaded recognizer, or a function that loads a recognizer. The caller must close a loaded
        recognizer."""
        self._settings = settings
        self._owned = callable(recognizer)
        self._task = asyncio.create_task(self._load(recognizer))
        # Retrieve the exception of a failed load: otherwise asyncio logs it as "never retrieved". The failure is
        # reported by `ready` and by the next handshake.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def engine(self) -> RecognitionEngine | None:
        """The engine, or None until it is loaded."""
        if not self._task.done() or self._task.cancelled() or self._task.exception():
            return None
        return self._task.result()

    @property
    def problem(self) -> str | None:
        """Why no session can be served now, or None."""
        if not self._task.done():
            return "the recognizer is still loading"
        if self._task.cancelled():
            return "the server is shutting down"
        failure = self._task.exception()
        if failure is not None:
            return f"the recognizer cannot be loaded: {failure}"
        broken = self._task.result().scheduler.broken
        return f"the recognizer fails: {broken}" if broken else None

    async def ready(self) -> RecognitionEngine:
        """Wait for the engine. If loading the recognizer failed, raises the exception of the failure."""
        # All sessions share the loading, so a caller that is cancelled must not cancel it.
        return await asyncio.shield(self._task)

    async def problem_when_loaded(self) -> str | None:
        """Wait at most 60 s until the engine is loaded. Returns the reason why no session can be served (see
        `problem`), or None."""
        await asyncio.wait({self._task}, timeout=_LOAD_WAIT_S)
        return self.problem

    async def close(self) -> None:
        """Stop loading and recognizing. Does not wait for a running recognition, which ends in its daemon thread."""
        self._task.cancel()
        await asyncio.wait({self._task})
        engine = self.engine
        if engine is None:
            return
        idle = engine.scheduler.close()
        engine.segmenter_thread.shutdown(wait=False, cancel_futures=True)
        # The thread of a running recognition still uses the model.
        if idle and self._owned:
            engine.recognizer.close()

    async def _load(self, recognizer: Recognizer | RecognizerLoader) -> RecognitionEngine:
        started = time.monotonic()
        loaded = await _in_daemon_thread(recognizer) if callable(recognizer) else recognizer
        _log.info("recognizer loaded", model=loaded.model, load_s=round(time.monotonic() - started, 2))
        # One thread serves all sessions: voice activity detection takes 0.15 CPU seconds per minute of audio.
        segmenter_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="listen")
        return RecognitionEngine(
            loaded, RecognitionScheduler(loaded), segmenter_thread, endpointing_rules(self._settings)
        )


async def _in_daemon_thread(load: RecognizerLoader) -> Recognizer:
    """Run `load` in a daemon thread, so that the process can end while a model is being downloaded."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Recognizer] = loop.create_future()

    def finish(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        # The future is done if the load was cancelled in the meantime.
        if not result.done():
            set_outcome(outcome)

    def work() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (result.set_result, load())
        except Exception as exc:  # noqa: BLE001 - raised by `ready`
            outcome = (result.set_exception, exc)
        try:
            loop.call_soon_threadsafe(finish, *outcome)
        except RuntimeError:
            _log.info("the server stopped before its recognizer was loaded")

    threading.Thread(target=work, name="load-recognizer", daemon=True).start()
    return await result
