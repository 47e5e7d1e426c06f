"""Parses faults for tests of clients: `stt-batch server --fault NAME[=VALUE][:SESSIONS]`.

Each fault reproduces a misbehaviour of real services. `SESSIONS` limits a fault to some sessions, for example `:1`,
`:1-3` or `:1,4`. The server numbers its sessions from 1 in the order of their start. For faults of the handshake, the
numbers are those of connections, not of sessions. If a value is a time since the start of a session, it is measured in
seconds of received audio.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.errors import SettingsError


class FaultKind(StrEnum):
    """The kinds of faults. The values are the names on the command line."""

    # faults in the content of committed messages
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
    # faults in the time of commits
    COMMIT_PAUSE = "commit-pause"
    LONGEST = "longest"
    NEVER_COMMIT = "never-commit"
    FORGET_TAIL = "forget-tail"
    # the service stops transcribing
    DEAF = "deaf"
    REPEAT_PARTIAL = "repeat-partial"
    CLOSE_CODE = "close-code"
    # the session or its connection ends early
    TIME_LIMIT = "time-limit"
    CLOSE = "close"
    DROP = "drop"
    ERROR = "error"
    ERROR_MESSAGE = "error-message"
    # the server stops reading or sending
    STOP_READING = "stop-reading"
    MUTE = "mute"
    # limits that the client must not exceed
    OVERFLOW = "overflow"
    CHUNK_MAX = "chunk-max"
    # options of start-session
    CONFIRM_OPTIONS = "confirm-options"
    REFUSE_OPTION = "refuse-option"
    # faults of the handshake
    HTTP = "http"
    REFUSE = "refuse"
    HANG = "hang"
    SLOW = "slow"
    POLLING_ONLY = "polling-only"


# The faults that take a value, each with the meaning of the value (for the help text) and its default.
FAULT_VALUES: Final[dict[FaultKind, tuple[str, str]]] = {
    # Where the real service was observed or documents a value, the default is that value: the drift of 0.1 s per
    # commit, the pause of 1.5 s, the longest segment of 36 s.
    FaultKind.PAIR_GAP: ("seconds between the two committed forms", "1"),
    FaultKind.DRIFT: ("seconds by which word times are late, multiplied by the number of the commit", "0.1"),
    FaultKind.OFFSET: ("seconds by which word times are late", "0.1"),
    FaultKind.TIMES: ("format of word times: FORM, or FORM@NUMBER from that commit on", "relative"),
    FaultKind.TEXT_COPIES: ("number of repetitions of the text in each commit", "3"),
    FaultKind.PHANTOM: ("additional commits, 0.4 s after each commit, that repeat its last words", "1"),
    FaultKind.GAP_GROWTH: ("seconds by which pair-gap grows with each commit", "0.5"),
    FaultKind.UNTIMED: ("every N-th commit has no form with word times", "3"),
    FaultKind.COMMIT_PAUSE: ("seconds of silence before a commit", "1.5"),
    FaultKind.LONGEST: ("seconds of speech after which text is committed without a pause", "36"),
    FaultKind.NEVER_COMMIT: ("seconds after which no text is committed", "0"),
    FaultKind.DEAF: ("START or START-END in seconds: no text for the speech in that time, and no error", "0"),
    FaultKind.CLOSE_CODE: ("code of session-closed", "1005"),
    FaultKind.TIME_LIMIT: ("seconds until session_time_limit_exceeded", "10"),
    FaultKind.CLOSE: ("seconds until an unannounced close with 1000", "10"),
    FaultKind.DROP: ("seconds until the connection is reset", "10"),
    FaultKind.ERROR: ("NAME@SECONDS: a session-error, then the close", "error@0"),
    FaultKind.ERROR_MESSAGE: ("NAME@SECONDS: the same as a transcript-message", "error@0"),
    FaultKind.STOP_READING: ("seconds after which the server neither reads nor sends", "10"),
    FaultKind.MUTE: ("seconds after which the server sends nothing but pings", "10"),
    FaultKind.OVERFLOW: ("speed, as a factor of real time, above which the session ends with queue_overflow", "2"),
    FaultKind.CHUNK_MAX: ("maximum seconds of audio in one chunk", "1"),
    FaultKind.REFUSE_OPTION: ("option of start-session with which a session ends at once with 1008", "language_code"),
    FaultKind.HTTP: ("STATUS or STATUS@SECONDS: HTTP status of the handshake, and Retry-After", "401"),
    FaultKind.REFUSE: ("reason of a refusal after the handshake", "Invalid API key"),
    FaultKind.SLOW: ("seconds the handshake takes", "2"),
}
# The faults without a value, each with its meaning (for the help text).
FAULT_MEANINGS: Final[dict[FaultKind, str]] = {
    FaultKind.PLAIN_ONLY: "commits come only in the form without word times",
    FaultKind.TIMED_ONLY: "commits come only in the form with word times",
    FaultKind.TIMED_FIRST: "the form with word times comes before the plain one",
    FaultKind.WORDS_NULL: "the list of words is null",
    FaultKind.NO_TIMES: "words have no start and end",
    FaultKind.EMPTY_COMMITS: "an empty commit comes before each commit, and for audio without text",
    FaultKind.TRIPLICATE: "each commit is sent three times",
    FaultKind.ECHO: "after each commit its text is sent again as partial text",
    FaultKind.SWAP: "the commits of each pair are sent in reverse order",
    FaultKind.FORGET_TAIL: "the end of the audio is not committed when the client stops",
    FaultKind.REPEAT_PARTIAL: "while `deaf` lasts, the last partial text is repeated every second",
    FaultKind.CONFIRM_OPTIONS: "the configuration of a session repeats all options of start-session",
    FaultKind.HANG: "the handshake is never answered",
    FaultKind.POLLING_ONLY: "only HTTP long-polling, no websocket",
}
FAULT_USAGE: Final = """\
--fault NAME[=VALUE][:SESSIONS], as often as needed. The values below are the defaults.
:SESSIONS limits a fault to some sessions, counted from 1 in the order of their start: `drop=5:1` only to the first,
`:1-3` to three, `:1,4` to two. For faults of the handshake (http, refuse, hang, slow) it counts connections.
"""
WORD_TIME_FORMS: Final = ("ms", "relative", "relative-ms", "negative", "zero", "beyond", "reversed", "text", "mixed")
"""Formats of word times, in this order: in milliseconds; seconds since the start of the segment; milliseconds since the
start of the segment; 1,000 s too early; all 0; 1,000 s too late; start and end swapped; numbers as text; a different
format in each commit."""
# For these faults the number in an option is the number of a connection, not of a session, because a session gets its
# number only after the handshake.
HANDSHAKE_FAULTS: Final = frozenset(
    {FaultKind.HTTP, FaultKind.REFUSE, FaultKind.HANG, FaultKind.SLOW, FaultKind.POLLING_ONLY}
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. `sessions`: numbers of the sessions to which the fault applies, or None for all sessions. For faults
    of the handshake, these are numbers of connections."""

    kind: FaultKind
    value: str = ""
    sessions: frozenset[int] | None = None

    @property
    def number(self) -> float:
        """The value as a number. Raises ValueError if it is not a number."""
        return float(self.value)

    @property
    def name_at(self) -> tuple[str, float]:
        """NAME and SECONDS of a value `NAME@SECONDS`. SECONDS is 0 if the value is only a name."""
        name, _, seconds = self.value.partition("@")
        return name, float(seconds or 0)

    @property
    def span(self) -> tuple[float, float]:
        """START and END of a value `START-END`, in seconds. END is inf if it is missing."""
        start, _, end = self.value.partition("-")
        return float(start), float(end or "inf")

    def applies(self, number: int) -> bool:
        """Whether the fault applies to the session or connection with this number."""
        return self.sessions is None or number in self.sessions


def parse(text: str) -> Fault:
    """Parse `NAME[=VALUE][:SESSIONS]`. Raises SettingsError, which states the valid names or values."""
    head, _, sessions = text.strip().partition(":")
    name, _, value = head.partition("=")
    try:
        kind = FaultKind(name)
    except ValueError:
        raise SettingsError(f"no fault {name!r}; choose from {', '.join(FaultKind)}") from None
    meaning, default = FAULT_VALUES.get(kind, ("", ""))
    if value and not meaning:
        raise SettingsError(f"the fault {name} takes no value, got {value!r}")
    fault = Fault(kind, value or default, _numbers(sessions) if sessions else None)
    # Only the check of the value matters here: an invalid value raises ValueError.
    try:
        if kind in (FaultKind.ERROR, FaultKind.ERROR_MESSAGE):
            _ = fault.name_at
        elif kind is FaultKind.TIMES:
            if fault.name_at[0] not in WORD_TIME_FORMS:
                raise SettingsError(f"the fault {name} takes one of {', '.join(WORD_TIME_FORMS)}, got {value!r}")
        elif kind is FaultKind.DEAF:
            _ = fault.span
        elif kind is FaultKind.HTTP:
            _ = int(fault.name_at[0]), fault.name_at[1]
        elif meaning and kind not in (FaultKind.REFUSE, FaultKind.REFUSE_OPTION):
            _ = fault.number
    except ValueError:
        raise SettingsError(f"the fault {name} takes {meaning}, got {value!r}") from None
    return fault


def describe() -> str:
    """Return the help text of `--fault`: its syntax, then one line per fault."""
    lines = [FAULT_USAGE]
    for kind in FaultKind:
        meaning, default = FAULT_VALUES.get(kind) or (FAULT_MEANINGS[kind], "")
        lines.append(f"{f'{kind}={default}' if default else kind:<24} {meaning}")
    return "\n".join(lines)


class FaultSchedule:
    """Selects the faults of each session and each connection of one server. Counts sessions and connections, because
    SESSIONS refers to these numbers."""

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
        """Count one more session, and return its faults."""
        self._sessions += 1
        return tuple(f for f in self._faults if f.kind not in HANDSHAKE_FAULTS and f.applies(self._sessions))

    def next_connection(self) -> tuple[Fault, ...]:
        """Count one more connection, and return the faults of its handshake."""
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
