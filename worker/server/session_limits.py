"""Limits of a server session, its backlog of audio, and its close codes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

# Codes of session-closed, with their WebSocket meanings (RFC 6455).
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
POLICY: Final = 1008
FAILED: Final = 1011
TRY_LATER: Final = 1013

MAX_QUEUED_MESSAGES: Final = 20_000
"""Maximum of waiting messages of a session. Only tiny chunks reach it before the limit of audio."""
MAX_REFUSED_MESSAGES: Final = 100
"""Number of invalid messages after which a session ends."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits in seconds: audio ahead of recognition, and time without a message of the client."""

    backlog_s: float
    idle_s: float


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """The end of a session: code and reason of `session-closed`, and the error sent before it."""

    code: int
    reason: str
    error: str | None = None


class Backlog:
    """Seconds of audio received but not recognized yet; speech still in progress does not count."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._queued_s = 0.0  # received, not segmented
        self._utterances_s = 0.0  # in utterances, not recognized
        self._room = asyncio.Event()

    @property
    def total_s(self) -> float:
        return self._queued_s + self._utterances_s

    @property
    def recognizing(self) -> bool:
        """Whether utterances wait for recognition."""
        return self._utterances_s > 0

    @property
    def overflows(self) -> bool:
        return self.total_s > self._limit_s

    def received(self, audio_s: float) -> None:
        self._queued_s += audio_s

    def segmented(self, audio_s: float) -> None:
        self._queued_s = _less(self._queued_s, audio_s)
        self._update()

    def utterance_queued(self, audio_s: float) -> None:
        self._utterances_s += audio_s

    def recognized(self, audio_s: float) -> None:
        self._utterances_s = _less(self._utterances_s, audio_s)
        self._update()

    async def throttle(self, audio_s: float) -> None:
        """Slow down a client that is far ahead, at most to real time. Its connection is not read meanwhile.

        Above half of the limit, a message with `audio_s` seconds waits for room, at most `audio_s` seconds. So a file
        sent at full speed is received at the speed of recognition, and the backlog only overflows if recognition is
        slower than real time.
        """
        if self.total_s <= self._limit_s / 2:
            return
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), audio_s)
        except TimeoutError:
            return

    def release(self) -> None:
        """End all waits: the session is over."""
        self._limit_s = float("inf")
        self._update()

    def _update(self) -> None:
        if self.total_s <= self._limit_s / 2:
            self._room.set()


def _less(total_s: float, audio_s: float) -> float:
    # The sums are floats: round tiny remainders to 0.
    rest = total_s - audio_s
    return rest if rest > 1e-6 else 0.0
