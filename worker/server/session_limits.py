"""What a session may use, how far it may be ahead of recognition, and how it ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

# Codes of session-closed, with the meanings WebSocket gives them.
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
POLICY: Final = 1008
FAILED: Final = 1011
TRY_LATER: Final = 1013

MAX_QUEUED_MESSAGES: Final = 20_000
"""Messages that wait for a session. The limit of audio comes first, unless chunks are tiny."""
MAX_REFUSED_MESSAGES: Final = 100
"""Malformed messages after which a session ends."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """In seconds: audio ahead of recognition, and time without a message from the client."""

    backlog_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """How a session ends: code and reason of `session-closed`, and the error told before it."""

    code: int
    reason: str
    error: str | None = None


class Backlog:
    """Seconds of audio received but not recognized yet; speech still in progress does not count."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._queued_s = 0.0  # received, not listened to
        self._cut_s = 0.0  # listened to and cut, not recognized
        self._room = asyncio.Event()

    @property
    def total_s(self) -> float:
        return self._queued_s + self._cut_s

    @property
    def recognizing(self) -> bool:
        """Whether speech that was cut waits for its text."""
        return self._cut_s > 0

    @property
    def overflows(self) -> bool:
        return self.total_s > self._limit_s

    def received(self, audio_s: float) -> None:
        self._queued_s += audio_s

    def listened(self, audio_s: float) -> None:
        self._queued_s = _less(self._queued_s, audio_s)
        self._update()

    def cut(self, audio_s: float) -> None:
        self._cut_s += audio_s

    def recognized(self, audio_s: float) -> None:
        self._cut_s = _less(self._cut_s, audio_s)
        self._update()

    async def hold(self, audio_s: float) -> None:
        """Slow a client that is far ahead, but never below real time: its connection is not read meanwhile.

        Above half of the limit a message of `audio_s` seconds waits for room, at most `audio_s` seconds. So a file sent
        at full speed runs as fast as recognition does, and only a recognizer slower than speech overflows.
        """
        if self.total_s <= self._limit_s / 2:
            return
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), audio_s)
        except TimeoutError:
            return

    def release(self) -> None:
        """The session is over: hold nobody."""
        self._limit_s = float("inf")
        self._update()

    def _update(self) -> None:
        if self.total_s <= self._limit_s / 2:
            self._room.set()


def _less(total_s: float, audio_s: float) -> float:
    # Sums of floats: what is left of nothing must be nothing.
    rest = total_s - audio_s
    return rest if rest > 1e-6 else 0.0
