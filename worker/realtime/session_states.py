"""The states of a session and the ways it can end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    CONNECTING = "connecting"
    STARTING = "starting"
    STREAMING = "streaming"
    FLUSHING = "flushing"
    STOPPING = "stopping"
    ENDED = "ended"


class EndReason(StrEnum):
    """How a session ended."""

    COMPLETED = "completed"  # all audio sent and the tail resolved
    ERROR = "error"  # the service sent an error; `name` holds its class
    CLOSED = "closed"  # the service closed the session before that
    DROPPED = "dropped"  # the connection broke
    STALLED = "stalled"  # no sign of life


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """The end of a session. `name`: error class of the service, or ""; `detail`: text for a person."""

    why: EndReason
    name: str = ""
    detail: str = ""
    close_code: int | None = None
