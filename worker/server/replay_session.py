"""A session of the server that plays back a recording (`stt-batch server --replay`) instead of recognizing audio.

Messages are sent in the order of the recording, not at its times. A message of the service is sent when the client has
sent all messages that precede it in the recording, and as much audio. So a client that streams faster gets its answers
earlier. If two messages of the service directly follow each other in the recording, the session waits for the recorded
time between them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from worker.audio.segmentation.speech_detector import VoiceDetector
from worker.realtime import messages
from worker.realtime.session_recording import CONNECTED, DROPPED, REFUSED, Entry
from worker.server import protocol
from worker.server.recognizers import Recognition, Samples
from worker.server.session import Emit
from worker.server.session_limits import NORMAL, POLICY, Backlog, SessionEnding, SessionLimits, after_refusals

_LOST: Final = 1006
"""Code of an ending without session-closed (RFC 6455, section 7.4.1)."""


class NoRecognizer:
    """The recognizer of a server that only plays back recordings.

    A server needs a recognizer before it accepts sessions, but a `ReplaySession` uses none. A call would be a fault of
    the server: an exception shows it, while an empty result would look like audio without speech."""

    _ERROR: Final = "this server plays back recordings (--replay) and recognizes no audio; report this as a bug"

    model = "replay"
    language: str | None = None
    parallel = 1

    def voice_detector(self) -> VoiceDetector:
        """Raises RuntimeError."""
        raise RuntimeError(self._ERROR)

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        """Raises RuntimeError."""
        raise RuntimeError(self._ERROR)

    def close(self) -> None:
        """Do nothing."""


class ReplaySession:
    """Has the methods of `ServerSession`."""

    def __init__(
        self,
        session_id: str,
        rate: int,
        recording: Sequence[Entry],
        limits: SessionLimits,
        emit: Emit,
        reset: Callable[[], None],
    ) -> None:
        """`recording`: entries of one session. `reset`: resets the connection; called if the recorded connection was
        lost."""
        self.id = session_id
        self.rate = rate
        self.backlog = Backlog(limits.backlog_s)
        self.over = asyncio.Event()
        self.stopped_by_client = False
        self._recording = recording
        self._limits = limits
        self._emit = emit
        self._reset = reset
        self._samples = 0
        self._errors = 0
        self._ending: SessionEnding | None = None
        self._changed = asyncio.Event()
        self._closed = False  # session-closed of the recording was sent
        self._last_message = time.monotonic()

    @property
    def received_s(self) -> float:
        """Seconds of received audio."""
        return self._samples / self.rate

    def chunk(self, args: tuple[Any, ...]) -> float:
        """Count the audio of an audio-chunk. Returns its length in seconds. Raises protocol.ClientMessageRefused."""
        if self.stopped_by_client:
            raise protocol.ClientMessageRefused("invalid_request: the session is stopping, no more audio is accepted")
        chunk = protocol.chunk(args, self.rate)
        self._samples += len(chunk.pcm)
        self._note()
        return chunk.duration_s

    async def throttle(self, audio_s: float) -> None:
        """Return at once: no audio waits for recognition."""

    def refuse(self) -> None:
        """Count a refused message. `MAX_REFUSED_MESSAGES` refused messages end the session."""
        self._errors += 1
        if (ending := after_refusals(self._errors)) is not None:
            self.end(ending)

    def stop(self) -> None:
        """Accept no more audio, and send the remaining messages of the recording. Raises protocol.ClientMessageRefused
        if `stop` was already called."""
        if self.stopped_by_client:
            raise protocol.ClientMessageRefused("invalid_request: the session is stopping already")
        self.stopped_by_client = True
        self._note()

    def end(self, ending: SessionEnding) -> None:
        """End the session immediately."""
        self._ending = self._ending or ending
        self._changed.set()

    async def run(self) -> SessionEnding:
        """Play the recording until the recording or the session ends. Returns why the session ended."""
        try:
            closed = await self._play()
        finally:
            self.over.set()
        ending = self._ending or closed or SessionEnding(NORMAL, messages.REASON_STOPPED)
        if not self._closed and ending.code != _LOST:
            if ending.error:
                await self._emit(messages.ERROR, {"error": ending.error})
            await self._emit(messages.CLOSED, {"code": ending.code, "reason": ending.reason})
        return ending

    async def _play(self) -> SessionEnding | None:
        """Send the messages of the recording. Returns the recorded end of the session, or None if it has none."""
        samples, client_at_s = 0, 0.0
        stopped = False
        for entry in self._recording:
            if entry.sender == "client":
                samples, client_at_s = samples + entry.samples, entry.at_s
                stopped = stopped or entry.event == messages.STOP
                continue
            if not await self._wait(samples, entry.at_s - client_at_s, stopped=stopped):
                return None
            if entry.event == CONNECTED:
                continue
            if entry.event == REFUSED:
                # The handshake is over, so the refusal becomes an error of the session.
                return SessionEnding(POLICY, "as recorded", str(entry.payload))
            if entry.event == DROPPED:
                self._reset()
                return SessionEnding(_LOST, "the recorded connection was lost")
            await self._emit(entry.event, entry.payload)
            if entry.event == messages.CLOSED:
                self._closed = True
                code = entry.payload.get("code") if isinstance(entry.payload, dict) else None
                return SessionEnding(code if isinstance(code, int) else NORMAL, "as recorded")
        # The recorded client closed the connection. The current client does the same after stop-session.
        await self._wait(2**62, 0.0, stopped=True)
        return None

    async def _wait(self, samples: int, pause_s: float, *, stopped: bool) -> bool:
        """Wait until the client has sent `samples` samples and, if `stopped`, stop-session; then wait for further
        `pause_s` seconds. If the client has sent stop-session, the method does not wait for missing audio. Returns
        False if the session has ended."""
        while self._ending is None:
            now = time.monotonic()
            ready = self.stopped_by_client or (self._samples >= samples and not stopped)
            due_s = self._last_message + pause_s - now
            if ready and due_s <= 0:
                return True
            if not ready and now - self._last_message > self._limits.idle_s:
                self.end(SessionEnding(NORMAL, "no message of the client"))
                return False
            self._changed.clear()
            wait_s = due_s if ready else self._limits.idle_s
            try:
                async with asyncio.timeout(max(wait_s, 0.001)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return False

    def _note(self) -> None:
        self._last_message = time.monotonic()
        self._changed.set()
