"""Limits of a server session, its backlog of audio, and its close codes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

# Codes of session-closed. They have the meanings of the WebSocket close codes (RFC 6455, and IANA's registry for 1013).
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
POLICY: Final = 1008
FAILED: Final = 1011
TRY_LATER: Final = 1013

MAX_QUEUED_MESSAGES: Final = 20_000
"""Maximum number of chunks of a session that wait for segmentation. Only clients that send tiny chunks reach it before
they reach the limit of seconds, `SessionLimits.backlog_s`."""
MAX_REFUSED_MESSAGES: Final = 100
"""Number of invalid messages after which a session ends."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Limits of every session of a server."""

    backlog_s: float
    """Maximum seconds of audio that are received but not yet recognized. More end the session."""
    idle_s: float
    """Seconds without a message of the client after which the session is stopped."""


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """How a session ends. `code`, `reason`: the values in `session-closed`. `error`: the text of the `session-error`
    that is sent before `session-closed`, or None if no error is sent."""

    code: int
    reason: str
    error: str | None = None


def after_refusals(count: int) -> SessionEnding | None:
    """Return how a session ends after `count` refused messages, or None if it continues."""
    if count < MAX_REFUSED_MESSAGES:
        return None
    return SessionEnding(POLICY, "too many errors", f"invalid_request: {count} messages were refused")


class Backlog:
    """Counts the seconds of audio of a session that are received but not yet recognized. Speech that has not ended yet
    is not included, because it can only be recognized when it has ended."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._queued_s = 0.0  # audio that waits for segmentation
        self._utterances_s = 0.0  # utterances that wait for recognition
        self._room = asyncio.Event()

    @property
    def total_s(self) -> float:
        """Seconds of audio that wait for segmentation or recognition."""
        return self._queued_s + self._utterances_s

    @property
    def recognizing(self) -> bool:
        """Whether utterances wait for recognition."""
        return self._utterances_s > 0

    @property
    def overflows(self) -> bool:
        """Whether the backlog is above its limit."""
        return self.total_s > self._limit_s

    def received(self, audio_s: float) -> None:
        """Add `audio_s` seconds that have arrived."""
        self._queued_s += audio_s

    def segmented(self, audio_s: float) -> None:
        """Remove `audio_s` seconds that were split into utterances. The utterances are added by `utterance_queued`."""
        self._queued_s = _less(self._queued_s, audio_s)
        self._update()

    def utterance_queued(self, audio_s: float) -> None:
        """Add an utterance of `audio_s` seconds that waits for recognition."""
        self._utterances_s += audio_s

    def recognized(self, audio_s: float) -> None:
        """Remove an utterance of `audio_s` seconds that was recognized."""
        self._utterances_s = _less(self._utterances_s, audio_s)
        self._update()

    async def throttle(self, audio_s: float) -> None:
        """Slow down a client that is far ahead of recognition, but not below real time. The caller does not read the
        client's connection while it waits for this coroutine.

        If the backlog is above half of its limit, wait until it is smaller, but at most `audio_s` seconds (the length
        of the audio in the last message). So a file that is sent at full speed is received at the speed of recognition.
        The backlog only exceeds its limit if recognition is slower than real time.
        """
        if self.total_s <= self._limit_s / 2:
            return
        self._room.clear()
        try:
            await asyncio.wait_for(self._room.wait(), audio_s)
        except TimeoutError:
            return

    def release(self) -> None:
        """End the current wait of `throttle`, and make later calls return at once. Called when the session is over."""
        # With this limit, no later call of `throttle` waits, either.
        self._limit_s = float("inf")
        self._update()

    def _update(self) -> None:
        if self.total_s <= self._limit_s / 2:
            self._room.set()


def _less(total_s: float, audio_s: float) -> float:
    # Round remainders that are only floating-point errors to 0, so that an empty backlog is exactly 0.
    rest = total_s - audio_s
    return rest if rest > 1e-6 else 0.0
