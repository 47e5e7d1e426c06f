"""The phases of a session and the reasons for its end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Phase(StrEnum):
    """The phases of a session, in order."""

    CONNECTING = "connecting"
    STARTING = "starting"
    STREAMING = "streaming"
    FLUSHING = "flushing"
    STOPPING = "stopping"
    ENDED = "ended"


class EndReason(StrEnum):
    """Why a session ended."""

    COMPLETED = "completed"  # all audio was sent and committed
    ERROR = "error"  # the service sent an error; `name` is the error name
    CLOSED = "closed"  # the service closed the session early
    DROPPED = "dropped"  # the connection was lost
    STALLED = "stalled"  # no answer within STT_STALL_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class SessionEnd:
    """How a session ended. `name`: the service's error name, or "". `detail`: text for the user. `close_code` and
    `close_reason`: the values in the message session-closed or in the close of the websocket, if it has them.
    `retry_after_s`: the pause in seconds that an error message demands, or None."""

    reason: EndReason
    name: str = ""
    detail: str = ""
    close_code: int | None = None
    close_reason: str = ""
    retry_after_s: float | None = None
