"""The service misbehaving on purpose: `stt-batch server --fault NAME[=VALUE][:SESSIONS]`.

Everything other people's clients had to learn the hard way, as switches, so that a client can be tested and a user can
rehearse. `SESSIONS` limits a fault to some sessions by their number since the start, for example `:1`, `:1-3`, `:1,4`;
faults of the handshake count connections instead. Seconds are seconds of audio received in the session.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.errors import SettingsError


class FaultKind(StrEnum):
    """What a fault does; the values are the names on the command line."""

    # which committed messages come, and how
    PLAIN_ONLY = "plain-only"
    TIMED_ONLY = "timed-only"
    TIMED_FIRST = "timed-first"
    PAIR_GAP = "pair-gap"
    WORDS_NULL = "words-null"
    NO_TIMES = "no-times"
    EMPTY_COMMITS = "empty-commits"
    TRIPLICATE = "triplicate"
    ECHO = "echo"
    DRIFT = "drift"
    OFFSET = "offset"
    TIMES = "times"
    TEXT_COPIES = "text-copies"
    PHANTOM = "phantom"
    GAP_GROWTH = "gap-growth"
    UNTIMED = "untimed"
    SWAP = "swap"
    # when they come
    COMMIT_PAUSE = "commit-pause"
    LONGEST = "longest"
    NEVER_COMMIT = "never-commit"
    FORGET_TAIL = "forget-tail"
    # how it stops transcribing
    DEAF = "deaf"
    REPEAT_PARTIAL = "repeat-partial"
    CLOSE_CODE = "close-code"
    # how a session ends
    TIME_LIMIT = "time-limit"
    CLOSE = "close"
    DROP = "drop"
    ERROR = "error"
    ERROR_MESSAGE = "error-message"
    # how it stalls
    STOP_READING = "stop-reading"
    MUTE = "mute"
    # what it takes
    OVERFLOW = "overflow"
    CHUNK_MAX = "chunk-max"
    # the handshake
    HTTP = "http"
    REFUSE = "refuse"
    HANG = "hang"
    SLOW = "slow"
    POLLING_ONLY = "polling-only"


# What a value means, for those that take one; and what it is when none is given.
FAULT_VALUES: Final[dict[FaultKind, tuple[str, str]]] = {
    FaultKind.PAIR_GAP: ("seconds between the two committed forms", "1"),
    FaultKind.DRIFT: ("seconds the word times are late, more with each commit", "0.1"),
    FaultKind.OFFSET: ("seconds all word times are late", "0.1"),
    FaultKind.TIMES: ("the form of word times: FORM, or FORM@NUMBER from that commit on", "relative"),
    FaultKind.TEXT_COPIES: ("times the text of a commit is repeated inside it", "3"),
    FaultKind.PHANTOM: ("commits 0.4 s after each commit that repeat its last words", "1"),
    FaultKind.GAP_GROWTH: ("seconds by which pair-gap grows with each commit", "0.5"),
    FaultKind.UNTIMED: ("one in so many commits has no form with word times", "3"),
    FaultKind.COMMIT_PAUSE: ("seconds of silence before a commit", "1.5"),
    FaultKind.LONGEST: ("seconds of speech after which it commits without a pause", "36"),
    FaultKind.NEVER_COMMIT: ("seconds after which nothing is committed any more", "0"),
    FaultKind.DEAF: ("START or START-END in seconds: no text for the speech in that time, without any error", "0"),
    FaultKind.CLOSE_CODE: ("code of session-closed", "1005"),
    FaultKind.TIME_LIMIT: ("seconds until session_time_limit_exceeded", "10"),
    FaultKind.CLOSE: ("seconds until an unannounced close with 1000", "10"),
    FaultKind.DROP: ("seconds until the connection is reset", "10"),
    FaultKind.ERROR: ("NAME@SECONDS: a session-error, then the close", "error@0"),
    FaultKind.ERROR_MESSAGE: ("NAME@SECONDS: the same as a transcript-message", "error@0"),
    FaultKind.STOP_READING: ("seconds until nothing is read any more, nor said", "10"),
    FaultKind.MUTE: ("seconds until nothing is answered any more, pings excepted", "10"),
    FaultKind.OVERFLOW: ("times real time above which it ends with queue_overflow", "2"),
    FaultKind.CHUNK_MAX: ("seconds of audio a chunk may hold", "1"),
    FaultKind.HTTP: ("status of the handshake", "401"),
    FaultKind.REFUSE: ("reason of the refusal in-band", "Invalid API key"),
    FaultKind.SLOW: ("seconds the handshake takes", "2"),
}
WORD_TIME_FORMS: Final = ("ms", "relative", "relative-ms", "negative", "zero", "beyond", "reversed", "text", "mixed")
"""Forms of word times: milliseconds; from the start of the segment; both; 1,000 s too early; all 0; 1,000 s too late;
start and end exchanged; numbers as text; a different form with each commit."""
HANDSHAKE_FAULTS: Final = frozenset(
    {FaultKind.HTTP, FaultKind.REFUSE, FaultKind.HANG, FaultKind.SLOW, FaultKind.POLLING_ONLY}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One switch. `sessions` are the numbers it applies to, None for all."""

    kind: FaultKind
    value: str = ""
    sessions: frozenset[int] | None = None

    @property
    def number(self) -> float:
        return float(self.value)

    @property
    def name_at(self) -> tuple[str, float]:
        """NAME@SECONDS taken apart."""
        name, _, seconds = self.value.partition("@")
        return name, float(seconds or 0)

    @property
    def span(self) -> tuple[float, float]:
        """START and END in seconds; infinite without an end."""
        start, _, end = self.value.partition("-")
        return float(start), float(end or "inf")

    def applies(self, number: int) -> bool:
        return self.sessions is None or number in self.sessions


def parse(text: str) -> Fault:
    """`NAME[=VALUE][:SESSIONS]` to a fault. Raises SettingsError that lists what there is."""
    head, _, sessions = text.strip().partition(":")
    name, _, value = head.partition("=")
    try:
        kind = FaultKind(name)
    except ValueError:
        raise SettingsError(f"no fault {name!r}; there are {', '.join(FaultKind)}") from None
    meaning, default = FAULT_VALUES.get(kind, ("", ""))
    if value and not meaning:
        raise SettingsError(f"the fault {name} takes no value, got {value!r}")
    fault = Fault(kind, value or default, _numbers(sessions) if sessions else None)
    try:
        if kind in (FaultKind.ERROR, FaultKind.ERROR_MESSAGE):
            _ = fault.name_at
        elif kind is FaultKind.TIMES:
            if fault.name_at[0] not in WORD_TIME_FORMS:
                raise SettingsError(f"the fault {name} takes one of {', '.join(WORD_TIME_FORMS)}, got {value!r}")
        elif kind is FaultKind.DEAF:
            _ = fault.span
        elif meaning and kind is not FaultKind.REFUSE:
            _ = fault.number
    except ValueError:
        raise SettingsError(f"the fault {name} takes {meaning}, got {value!r}") from None
    return fault


def describe() -> str:
    """All faults, a line each, for the help."""
    lines = []
    for kind in FaultKind:
        meaning, default = FAULT_VALUES.get(kind, ("", ""))
        lines.append(f"{kind}" + (f"={default}  {meaning}" if meaning else ""))
    return "\n".join(lines)


class FaultSchedule:
    """All switches of one server; counts sessions and connections."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._faults = tuple(faults)
        self._sessions = 0
        self._connections = 0

    def __bool__(self) -> bool:
        return bool(self._faults)

    @property
    def polling_only(self) -> bool:
        return any(f.kind is FaultKind.POLLING_ONLY for f in self._faults)

    def next_session(self) -> tuple[Fault, ...]:
        """The faults of the session that starts now."""
        self._sessions += 1
        return tuple(f for f in self._faults if f.kind not in HANDSHAKE_FAULTS and f.applies(self._sessions))

    def next_connection(self) -> tuple[Fault, ...]:
        """The faults of the handshake that comes now."""
        self._connections += 1
        return tuple(f for f in self._faults if f.kind in HANDSHAKE_FAULTS and f.applies(self._connections))


def _numbers(text: str) -> frozenset[int]:
    numbers: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers.update(range(int(first), int(last or first) + 1))
    except ValueError:
        raise SettingsError(f"the sessions of a fault are numbers such as 1, 1-3 or 1,4, not {text!r}") from None
    return frozenset(numbers)
