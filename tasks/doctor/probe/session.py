"""One session of a measurement. This simple client records when each message arrives, and does not compensate faults of
the service."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Self

import pybase64

from worker.audio.pcm_frames import BYTES_PER_SAMPLE
from worker.realtime import messages
from worker.realtime.client import Client
from worker.realtime.message_masking import mask_message
from worker.realtime.messages import (
    Closed,
    Committed,
    Lost,
    Message,
    ServiceError,
    SessionStarted,
    UpstreamStarted,
    close_text,
)
from worker.secret_masking import masker_of
from worker.settings import Settings

FRAME_S: Final = 0.25
"""Seconds of audio in one message."""


class ProbeSession:
    """An open session. Use it as a context manager; entering raises EndpointError if the service refuses it.

    `events`: each message with the clock time of its arrival. `sent_s`: seconds of sent audio."""

    def __init__(self, settings: Settings, options: Mapping[str, object] | None = None) -> None:
        self.events: list[tuple[float, Message]] = []
        self.sent_s = 0.0
        self.dropped = ""  # reason of a lost connection
        self.ended_at = math.inf  # clock time
        self.transport = ""
        self._settings = settings
        self._rate = settings.sample_rate
        self._options = dict(options or {})
        self._masker = masker_of(settings)
        self._changed = asyncio.Event()
        self._client = Client(settings.url, settings.api_key, settings, self._take, self._drop)

    async def __aenter__(self) -> Self:
        await self._client.open()
        self.transport = self._client.transport
        try:
            await self._client.emit(messages.START, messages.start_session(self._rate, self._options))
            await self.until(lambda: self.started or self.ended, self._settings.start_timeout_s)
        except BaseException:
            await self._client.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    @property
    def started(self) -> bool:
        """Whether the service has accepted the session."""
        return any(isinstance(message, SessionStarted) for _, message in self.events)

    @property
    def ended(self) -> bool:
        """Whether the service or the network has ended the session."""
        return self.ended_at < math.inf

    @property
    def end_reason(self) -> str:
        """Why the session ended, or "" while it runs."""
        if not self.ended:
            return ""
        errors = [message.text for _, message in self.events if isinstance(message, ServiceError)]
        closes = [message for _, message in self.events if isinstance(message, Closed)]
        closed = close_text(closes[-1].code, closes[-1].reason) if closes else ""
        return next((text for text in (*errors, closed, self.dropped) if text), "ended without a reason")

    @property
    def config(self) -> Mapping[str, object] | None:
        """The configuration that the service sent, or None."""
        started = [message for _, message in self.events if isinstance(message, UpstreamStarted)]
        return started[-1].config if started else None

    def commits(self) -> list[tuple[float, Committed]]:
        """Return the commits with text, each with the clock time of its arrival. If both messages of a commit have
        arrived, only the message with word times is returned."""
        found = [(at, one) for at, one in self.events if isinstance(one, Committed) and one.text.strip()]
        timed = {one.text.strip() for _, one in found if one.timed}
        return [(at, one) for at, one in found if one.timed or one.text.strip() not in timed]

    async def send(self, pcm: bytes, speed: float = 1.0) -> bool:
        """Send audio at `speed` times real time. Returns False if the session ended before all audio was sent."""
        size = round(FRAME_S * self._rate) * BYTES_PER_SAMPLE
        began, first_s = time.monotonic(), self.sent_s
        for at in range(0, len(pcm), size):
            frame = pcm[at : at + size]
            due = began + (self.sent_s - first_s) / speed
            if await self.until(lambda: self.ended, due - time.monotonic()):
                return False
            chunk = messages.audio_chunk(pybase64.b64encode_as_string(frame), self._rate)
            if not await self._client.emit(messages.CHUNK, chunk):
                return False
            self.sent_s += len(frame) / BYTES_PER_SAMPLE / self._rate
        return not self.ended

    async def stop(self) -> None:
        """Send stop-session."""
        await self._client.emit(messages.STOP)

    async def until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `condition` returns True. It is called after each message. Returns False if it did not return True
        within `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self._changed.clear()
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                return condition()
        return True

    def _take(self, event: str, payload: object = None) -> None:
        message = mask_message(messages.parse(event, payload), self._masker)
        self.events.append((time.monotonic(), message))
        if isinstance(message, Closed | ServiceError):
            self._end()
        self._changed.set()

    def _drop(self, lost: Lost) -> None:
        self.dropped = self.dropped or f"the connection was lost ({self._masker.text(lost.reason)})"
        self._end()
        self._changed.set()

    def _end(self) -> None:
        self.ended_at = min(self.ended_at, time.monotonic())
