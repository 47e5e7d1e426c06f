"""Limits the simultaneous deliveries to one receiver, and pauses receivers that do not answer. No I/O.

A receiver is an address without its query. Many receivers may share one host, such as that of a chat service, so a
receiver that does not answer must not stop the others on its host. Both have a limit of simultaneous deliveries, so
that no receiver and no host takes all connections of a worker. The limit is higher after an answer.

Without an answer to MAX_UNANSWERED different messages in a row, a receiver is paused for PAUSE_S: its messages then
fail without a connection. After the pause one message at a time is tried, until the receiver answers again. A host is
never paused: after a pause, each attempt would probably meet one of its silent receivers, and pause the host again.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, Protocol

MAX_PER_RECEIVER: Final = 4
"""Maximum number of simultaneous deliveries to one receiver in one process, if its last answer is not known."""
MAX_PER_HOST: Final = 8
"""Maximum number of simultaneous deliveries to one host in one process, if its last answer is not known."""
MAX_AFTER_ANSWER: Final = 16
"""Maximum number of simultaneous deliveries to one receiver, and to one host, after it answered in time."""
MAX_RESPONSIVE: Final = 64
"""Maximum number of receivers and hosts whose answers are remembered: those of the latest answers."""
MAX_UNANSWERED: Final = 3
"""Number of messages without an answer in time after which a receiver is paused."""
PAUSE_S: Final = 30.0
"""Seconds of a pause."""
MAX_REMEMBERED: Final = 500
"""Maximum number of receivers whose missing answers are remembered."""


class Target(Protocol):
    """The part of a message that the limits need."""

    @property
    def id(self) -> str: ...
    @property
    def receiver(self) -> str: ...
    @property
    def host(self) -> str: ...


class ReceiverLimits:
    """The deliveries of one process. Times are in seconds on any monotonic clock."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        # Receiver -> ids of the messages without an answer since its last answer. The newest receiver comes last.
        self._silent: dict[str, set[str]] = {}
        self._paused_until: dict[str, float] = {}
        self._responsive: dict[str, None] = {}
        """Receivers and hosts that answered in time. The latest answer comes last."""

    def begin(self, target: Target) -> None:
        """Count a delivery that starts."""
        self._running.update((target.receiver, target.host))

    def end(self, target: Target) -> None:
        """Count a delivery that has ended."""
        for name in (target.receiver, target.host):
            self._running[name] -= 1
            if self._running[name] <= 0:
                del self._running[name]

    def answered(self, target: Target) -> None:
        """Record an attempt that did not time out: the receiver answered, or refused the connection."""
        self._silent.pop(target.receiver, None)
        self._paused_until.pop(target.receiver, None)
        for name in (target.receiver, target.host):
            self._responsive.pop(name, None)
            self._responsive[name] = None
        while len(self._responsive) > MAX_RESPONSIVE:
            del self._responsive[next(iter(self._responsive))]

    def timed_out(self, target: Target, now_s: float) -> None:
        """Record that the receiver did not answer in time."""
        name = target.receiver
        self._responsive.pop(name, None)
        self._responsive.pop(target.host, None)
        silent = self._silent.pop(name, set())
        self._silent[name] = silent
        if len(silent) < MAX_UNANSWERED:
            silent.add(target.id)
        if len(silent) >= MAX_UNANSWERED:
            self._paused_until[name] = now_s + PAUSE_S
        while len(self._silent) > MAX_REMEMBERED:
            oldest = next(iter(self._silent))
            del self._silent[oldest]
            self._paused_until.pop(oldest, None)

    def is_paused(self, target: Target, now_s: float) -> bool:
        """Whether a message to this receiver should fail without a connection."""
        return self._paused_until.get(target.receiver, now_s) > now_s

    def free(self, now_s: float) -> dict[str, int]:
        """Return the number of deliveries that may start now, for each receiver and host where it is not
        MAX_PER_RECEIVER or MAX_PER_HOST."""
        found = {name: self._limit(name) - self._running[name] for name in self._running.keys() | self._responsive}
        for name, until in self._paused_until.items():
            if until <= now_s:  # the pause is over: one message at a time shows whether the receiver answers again
                found[name] = 1 - self._running[name]
        return {name: max(0, count) for name, count in found.items()}

    def _limit(self, name: str) -> int:
        if name in self._responsive:
            return MAX_AFTER_ANSWER
        return MAX_PER_HOST if name.startswith("h") else MAX_PER_RECEIVER


__all__ = ["MAX_AFTER_ANSWER", "MAX_PER_HOST", "MAX_PER_RECEIVER", "MAX_UNANSWERED", "PAUSE_S", "ReceiverLimits"]
