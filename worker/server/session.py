"""One real-time session of the server: receives audio and sends transcript messages.

A session runs three asyncio tasks. `_segment` splits the queued audio into utterances. `_commit` sends the recognized
text of the utterances in order. `_send_partials` sends partials (text of an utterance that has not ended yet) and
keep-alive messages, and detects idle clients. Every session ends with exactly one `session-closed`. After `stop`, all
received audio is committed before `session-closed`.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from worker.realtime import messages
from worker.server import partial_timing, protocol
from worker.server.recognition_engine import RecognitionEngine
from worker.server.recognizers import SAMPLE_RATE, Recognition
from worker.server.session_limits import (
    FAILED,
    MAX_QUEUED_MESSAGES,
    NORMAL,
    TRY_LATER,
    Backlog,
    SessionEnding,
    SessionLimits,
    after_refusals,
)
from worker.server.speech_segmenter import SpeechSegmenter, Utterance

# The real service repeats its last partial about every second. Clients take a longer silence for a stalled service.
_KEEP_ALIVE_S = 1.0  # a session that is processing audio sends a message at least this often
# With these limits on partials, a file that is sent faster than real time costs almost nothing extra, and a live
# microphone 12 CPU seconds per minute of audio (tiny.en).
_TICK_S = 0.1  # interval at which `_send_partials` checks what is due
_MAX_BATCH_S = 5.0  # audio in one call of the segmenter (plus the rest of one chunk), which blocks its thread
_STOPPED = messages.REASON_STOPPED

_log = structlog.get_logger("worker.server")

Emit = Callable[[str, dict[str, Any] | None], Awaitable[None]]


class ServerSession:
    """One session. The object is created when start-session arrives, and `run` runs the session to its end. All methods
    must be called on the event loop."""

    def __init__(
        self, session_id: str, rate: int, engine: RecognitionEngine, limits: SessionLimits, emit: Emit
    ) -> None:
        self.id = session_id
        self.rate = rate
        self._engine = engine
        self._limits = limits
        self._emit = emit
        self._segmenter = SpeechSegmenter(rate, engine.recognizer.voice_detector(), engine.rules)
        self._inbox: deque[protocol.AudioChunk] = deque()
        self._arrived = asyncio.Event()
        self.backlog = Backlog(limits.backlog_s)
        self._utterances: asyncio.Queue[tuple[Utterance, list[asyncio.Future[Recognition]]] | None] = asyncio.Queue()
        self._ending: asyncio.Future[SessionEnding] = asyncio.get_running_loop().create_future()
        self._stopped: SessionEnding | None = None
        self.over = asyncio.Event()
        self._segmenting = False
        self._finished = asyncio.Event()
        self._errors = 0
        self._partial_text = ""
        self._partial_of: int | None = None  # first sample of the segment whose text is `_partial_text`
        self._partial_upto = 0  # number of samples of that segment that were recognized for `_partial_text`
        now = time.monotonic()
        self._last_message = self._last_sent = self._last_partial = now
        self._busy_since_sent = False

    @property
    def received_s(self) -> float:
        """Seconds of received audio that `_segment` has processed."""
        return self._segmenter.received_s

    def chunk(self, args: tuple[Any, ...]) -> float:
        """Queue the audio of an audio-chunk. `args`: the arguments of the event. Returns the length of the audio in
        seconds, or 0 if the session is ending. A backlog above the limit ends the session.

        Raises protocol.ClientMessageRefused if the payload is invalid or the session was stopped.
        """
        self._last_message = time.monotonic()
        if self._ending.done():
            return 0.0
        if self._stopped:
            raise protocol.ClientMessageRefused("invalid_request: the session is stopping, no more audio is accepted")
        chunk = protocol.chunk(args, self.rate)
        self.backlog.received(chunk.duration_s)
        self._busy_since_sent = True
        if self.backlog.overflows or len(self._inbox) >= MAX_QUEUED_MESSAGES:
            text = (
                f"queue_overflow: {self.backlog.total_s:.0f} s of audio wait for recognition "
                f"(limit {self._limits.backlog_s:g}); send more slowly"
            )
            self.end(SessionEnding(TRY_LATER, "queue overflow", text))
            return 0.0
        self._inbox.append(chunk)
        self._arrived.set()
        return chunk.duration_s

    async def throttle(self, audio_s: float) -> None:
        """Slow down a client that is far ahead of recognition (see `Backlog.throttle`). Must be called after each
        chunk, before the next message of the connection is read."""
        await self.backlog.throttle(audio_s)

    def refuse(self) -> None:
        """Count a refused message. `MAX_REFUSED_MESSAGES` refused messages end the session."""
        self._errors += 1
        if (ending := after_refusals(self._errors)) is not None:
            self.end(ending)

    @property
    def stopped_by_client(self) -> bool:
        """Whether the session ends because the client sent stop-session."""
        return self._stopped is not None and self._stopped.reason == _STOPPED

    def stop(self, reason: str = _STOPPED) -> None:
        """Accept no more audio, commit all received audio, then close normally. Raises protocol.ClientMessageRefused if
        `stop` was already called."""
        if self._stopped:
            raise protocol.ClientMessageRefused("invalid_request: the session is stopping already")
        self._stopped = SessionEnding(NORMAL, reason)
        self._arrived.set()

    def end(self, ending: SessionEnding) -> None:
        """End the session immediately. Text that is not committed yet is discarded."""
        if not self._ending.done():
            self._ending.set_result(ending)
        self.backlog.release()

    async def run(self) -> SessionEnding:
        """Run the session until it has ended and session-closed is sent. Returns why it ended."""
        recognizer = self._engine.recognizer
        await self._emit(messages.STARTED, None)
        started = protocol.session_started(
            self.id, self.rate, recognizer.model, recognizer.language, self._engine.rules
        )
        await self._send(started)
        work = asyncio.create_task(self._work())
        try:
            waiting: set[asyncio.Future[Any]] = {work, self._ending}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            ending = self._ending.result() if self._ending.done() else self._outcome(work)
        finally:
            # First stop the tasks that use the scheduler, then remove from it the finals of this session.
            work.cancel()
            self._engine.scheduler.cancel_waiting(self)
            self.backlog.release()
            await asyncio.gather(work, return_exceptions=True)
            self._drop_pending()
            self.over.set()
        # The error goes first, because clients ignore messages after session-closed.
        if ending.error:
            await self._emit(messages.ERROR, {"error": ending.error})
        await self._emit(messages.CLOSED, {"code": ending.code, "reason": ending.reason})
        return ending

    def _outcome(self, work: asyncio.Task[None]) -> SessionEnding:
        """Return how the session ends after its task `work` is done: normally, or because of an exception."""
        failure = work.exception()
        if failure is None:
            return self._stopped or SessionEnding(NORMAL, "")
        # The TaskGroup of `_work` wraps the error of its task in a group.
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        _log.error("session failed", session=self.id, exc_info=failure)
        return SessionEnding(FAILED, "recognition failed", f"transcriber_error: {failure}")

    def _drop_pending(self) -> None:
        while not self._utterances.empty():
            item = self._utterances.get_nowait()
            for future in item[1] if item else ():
                future.cancel()

    async def _work(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._segment())
            group.create_task(self._commit())
            group.create_task(self._send_partials())

    async def _segment(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch, batch_s = self._batch()
            if not batch and self._stopped:
                break
            if not batch:
                self._arrived.clear()
                continue
            self._segmenting = True
            pcm = batch[0].pcm if len(batch) == 1 else protocol.concatenated(batch)
            utterances = await loop.run_in_executor(self._engine.segmenter_thread, self._segmenter.process, pcm)
            self._segmenting = False
            # While more audio waits, further utterances follow in milliseconds, and may share one recognition.
            # Add the utterances to the backlog before their audio is removed from it. In the other order the backlog
            # would be too small in between, and `throttle` would end too early.
            self._recognize(utterances, more=bool(self._inbox))
            self.backlog.segmented(batch_s)
        # This flag is not reset: no partial is recognized any more, and keep-alive messages are sent until the last
        # commit.
        self._segmenting = True
        self._recognize(await loop.run_in_executor(self._engine.segmenter_thread, self._segmenter.finish))
        self._utterances.put_nowait(None)

    def _batch(self) -> tuple[list[protocol.AudioChunk], float]:
        batch: list[protocol.AudioChunk] = []
        batch_s = 0.0
        while self._inbox and batch_s < _MAX_BATCH_S:
            batch.append(self._inbox.popleft())
            batch_s += batch[-1].duration_s
        return batch, batch_s

    def _recognize(self, utterances: list[Utterance], *, more: bool = False) -> None:
        """Queue the recognition of utterances. `more`: audio waits that may contain further utterances."""
        scheduler = self._engine.scheduler
        for utterance in utterances:
            futures = [scheduler.final(self, samples, more=True) for _, samples in utterance.pieces]
            self.backlog.utterance_queued(utterance.duration_s)
            self._utterances.put_nowait((utterance, futures))
        if not more:
            scheduler.no_more(self)

    async def _commit(self) -> None:
        while (item := await self._utterances.get()) is not None:
            utterance, futures = item
            parts = [(at, await future) for (at, _), future in zip(utterance.pieces, futures, strict=True)]
            self.backlog.recognized(utterance.duration_s)
            recognition = protocol.joined(parts)
            self._busy_since_sent = True
            # The commit replaces this partial text, so it must not be sent again as a keep-alive message.
            if self._partial_of is not None and self._partial_of / SAMPLE_RATE < utterance.end_s:
                self._partial_text, self._partial_of = "", None
            if recognition.text:
                for message in protocol.committed(recognition, utterance):
                    await self._send(message)
        self._finished.set()

    async def _send_partials(self) -> None:
        while not self._finished.is_set():
            try:
                await asyncio.wait_for(self._finished.wait(), _TICK_S)
            except TimeoutError:
                await self._tick(time.monotonic())

    async def _tick(self, now: float) -> None:
        # A client must not be ended as idle while its session is busy: it may be unable to send because of `throttle`.
        if self._busy:
            self._last_message = max(self._last_message, now - _KEEP_ALIVE_S)
        elif now - self._last_message > self._limits.idle_s and not self._stopped:
            self.stop(f"idle: no message from the client for {self._limits.idle_s:g} s")
        if partial_timing.is_due(now - self._last_partial) and await self._partial(now):
            return
        if now - self._last_sent >= _KEEP_ALIVE_S and (self._busy_since_sent or self._busy):
            await self._send(protocol.partial(self._partial_text))

    @property
    def _busy(self) -> bool:
        """Whether received audio waits for segmentation or recognition. Speech that has not ended yet is not
        included."""
        return bool(self._inbox) or self._segmenting or self.backlog.recognizing

    async def _partial(self, now: float) -> bool:
        """Recognize the speech that has not ended yet, if there is enough new audio, and send its text. Returns whether
        a partial was sent."""
        start = self._segmenter.open_start
        if self._busy or start is None:
            return False
        samples = self._segmenter.open_speech()
        seen = self._partial_upto if self._partial_of == start else 0
        if not partial_timing.is_worth_it(len(samples), seen):
            return False
        future = self._engine.scheduler.partial(samples)
        if future is None:
            return False
        self._last_partial = now
        recognition = await future
        # Send nothing if the segment has ended or changed during the recognition: its text would be outdated.
        if self._segmenting or self._segmenter.open_start != start:
            return False
        self._partial_text, self._partial_of, self._partial_upto = recognition.text, start, len(samples)
        await self._send(protocol.partial(recognition.text))
        return True

    async def _send(self, payload: dict[str, Any]) -> None:
        self._last_sent = time.monotonic()
        self._busy_since_sent = False
        await self._emit(messages.TRANSCRIPT, payload)
