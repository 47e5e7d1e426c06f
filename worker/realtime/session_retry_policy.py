"""What follows from the end of a session: one pure function (`decide`).

The classes of error names are those the service's upstream documents; any of them may carry the suffix `_error`, and
texts nobody knows are worth a retry.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from worker.errors import (
    AuthRefused,
    EndpointBusy,
    EndpointError,
    EndpointUnavailable,
    RequestRefused,
    SessionLost,
    SessionStalled,
)
from worker.realtime.session_states import End, Why


class Action(StrEnum):
    """What to do next with the rest of the audio."""

    DONE = "done"  # nothing is left to do
    FAIL = "fail"  # no later session can do better
    RETRY = "retry"  # a new session after a pause
    ROLLOVER = "rollover"  # a new session at once


@dataclass(frozen=True, slots=True)
class Decision:
    """`error` is what the job fails with if the action is FAIL, or when retries are used up."""

    action: Action
    error: EndpointError | None = None


FATAL: Final = frozenset(
    {"auth_error", "quota_exceeded", "unaccepted_terms", "input_error", "invalid_request", "chunk_size_exceeded"}
)
BUSY: Final = frozenset({"rate_limited", "queue_overflow", "resource_exhausted"})
ROLLOVER: Final = frozenset({"session_time_limit_exceeded", "insufficient_audio_activity", "commit_throttled"})

COME_BACK_LATER: Final = frozenset({1001, 1011, 1012, 1013})
"""Close codes (RFC 6455 and its registry) of a service that goes away, failed, restarts or is overloaded."""


def decide(end: End, url: str) -> Decision:
    """The consequence of `end`; `url` only serves the error's text."""
    if end.why is Why.COMPLETED:
        return Decision(Action.DONE)
    if end.why is Why.ERROR:
        return _decide_error(end, url)
    if end.why is Why.STALLED:
        return Decision(Action.RETRY, SessionStalled(f"{url}: {end.detail}"))
    if end.why is Why.DROPPED:
        return Decision(Action.RETRY, EndpointUnavailable(f"{url}: the connection broke ({end.detail})"))
    action = Action.RETRY if end.close_code in COME_BACK_LATER else Action.ROLLOVER
    return Decision(action, SessionLost(f"{url}: the service ended the session early ({end.detail})"))


def _decide_error(end: End, url: str) -> Decision:
    name = _base_name(end.name)
    if name in ROLLOVER:
        return Decision(Action.ROLLOVER, SessionLost(f"{url}: {end.detail}"))
    if name == "auth_error":
        return Decision(Action.FAIL, AuthRefused(auth_text(url, end.detail)))
    if name in FATAL:
        return Decision(Action.FAIL, RequestRefused(f"{url} refused the audio or the account: {end.detail}"))
    if name in BUSY:
        return Decision(Action.RETRY, EndpointBusy(f"{url} is at its limit: {end.detail}"))
    return Decision(Action.RETRY, SessionLost(f"{url} reported an error: {end.detail}"))


def auth_text(url: str, detail: str) -> str:
    """The one sentence for a refused key."""
    return f"API key refused by {url} ({detail}): check STT_API_KEY and the account's access"


def _base_name(name: str) -> str:
    known = FATAL | BUSY | ROLLOVER
    for candidate in (name, name.removesuffix("_error"), f"{name}_error"):
        if candidate in known:
            return candidate
    return name
