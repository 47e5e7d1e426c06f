"""What all sessions of a process share, and how it comes up: loading in the background, failed, or ready."""

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
from worker.server.recognizers import Recognizer
from worker.settings import Settings

_log = structlog.get_logger("worker.server")
_LOAD_WAIT_S: Final = 60.0

RecognizerLoader = Callable[[], Recognizer]


@dataclass(frozen=True, slots=True)
class RecognitionEngine:
    """The recognizer and the threads around it."""

    recognizer: Recognizer
    scheduler: RecognitionScheduler
    ears: Executor
    """Runs the listeners: resampling and voice detection."""
    rules: EndpointingRules


class EngineLoader:
    """An engine that may still be loading. All methods are called on the event loop."""

    def __init__(self, settings: Settings, recognizer: Recognizer | RecognizerLoader) -> None:
        """A recognizer given as a value stays its owner's; one that was loaded here is closed here."""
        self._settings = settings
        self._owned = callable(recognizer)
        self._task = asyncio.create_task(self._load(recognizer))
        # The failure is told at the handshake and by `ready`; nobody may be waiting.
        self._task.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def engine(self) -> RecognitionEngine | None:
        """The engine once it is loaded."""
        if not self._task.done() or self._task.cancelled() or self._task.exception():
            return None
        return self._task.result()

    @property
    def problem(self) -> str | None:
        """Why no session can be served now, None when one can."""
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
        """Wait for the engine. Raises what loading raised."""
        return await asyncio.shield(self._task)

    async def settled(self) -> str | None:
        """`problem`, after waiting up to 60 s for an engine that still loads."""
        await asyncio.wait({self._task}, timeout=_LOAD_WAIT_S)
        return self.problem

    async def close(self) -> None:
        """Stop loading or recognizing. A recognition that runs is left to its daemon thread."""
        self._task.cancel()
        await asyncio.wait({self._task})
        engine = self.engine
        if engine is None:
            return
        idle = engine.scheduler.close()
        engine.ears.shutdown(wait=False, cancel_futures=True)
        if idle and self._owned:
            engine.recognizer.close()

    async def _load(self, recognizer: Recognizer | RecognizerLoader) -> RecognitionEngine:
        started = time.monotonic()
        loaded = await _in_daemon_thread(recognizer) if callable(recognizer) else recognizer
        _log.info("recognizer loaded", model=loaded.model, load_s=round(time.monotonic() - started, 2))
        ears = ThreadPoolExecutor(max_workers=1, thread_name_prefix="listen")
        return RecognitionEngine(loaded, RecognitionScheduler(loaded), ears, endpointing_rules(self._settings))


async def _in_daemon_thread(load: RecognizerLoader) -> Recognizer:
    """Run `load` in a thread that does not keep the process from ending (a model may be downloading)."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[Recognizer] = loop.create_future()

    def tell(how: Callable[[Any], None], what: Any) -> None:
        if not result.done():
            how(what)

    def work() -> None:
        try:
            outcome: tuple[Callable[[Any], None], Any] = (result.set_result, load())
        except Exception as exc:  # noqa: BLE001 - handed to the one who waits
            outcome = (result.set_exception, exc)
        try:
            loop.call_soon_threadsafe(tell, *outcome)
        except RuntimeError:
            _log.info("the server stopped before its recognizer was loaded")

    threading.Thread(target=work, name="load-recognizer", daemon=True).start()
    return await result
