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
from worker.realtime.session_states import EndReason, SessionEnd


class RetryAction(StrEnum):
    """What to do next with the rest of the audio."""

    DONE = "done"  # nothing is left to do
    FAIL = "fail"  # no later session can do better
    RETRY = "retry"  # a new session after a pause
    ROLLOVER = "rollover"  # a new session at once


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """`error` is what the job fails with if the action is FAIL, or when retries are used up."""

    action: RetryAction
    error: EndpointError | None = None


FATAL: Final = frozenset(
    {"auth_error", "quota_exceeded", "unaccepted_terms", "input_error", "invalid_request", "chunk_size_exceeded"}
)
BUSY: Final = frozenset({"rate_limited", "queue_overflow", "resource_exhausted"})
ROLLOVER: Final = frozenset({"session_time_limit_exceeded", "insufficient_audio_activity", "commit_throttled"})

COME_BACK_LATER: Final = frozenset({1001, 1011, 1012, 1013})
"""Close codes (RFC 6455 and its registry) of a service that goes away, failed, restarts or is overloaded."""


def decide(end: SessionEnd, url: str) -> RetryDecision:
    """The consequence of `end`; `url` only serves the error's text."""
    if end.why is EndReason.COMPLETED:
        return RetryDecision(RetryAction.DONE)
    if end.why is EndReason.ERROR:
        return _decide_error(end, url)
    if end.why is EndReason.STALLED:
        return RetryDecision(RetryAction.RETRY, SessionStalled(f"{url}: {end.detail}"))
    if end.why is EndReason.DROPPED:
        return RetryDecision(RetryAction.RETRY, EndpointUnavailable(f"{url}: the connection broke ({end.detail})"))
    action = RetryAction.RETRY if end.close_code in COME_BACK_LATER else RetryAction.ROLLOVER
    return RetryDecision(action, SessionLost(f"{url}: the service ended the session early ({end.detail})"))


def _decide_error(end: SessionEnd, url: str) -> RetryDecision:
    name = _base_name(end.name)
    if name in ROLLOVER:
        return RetryDecision(RetryAction.ROLLOVER, SessionLost(f"{url}: {end.detail}"))
    if name == "auth_error":
        return RetryDecision(RetryAction.FAIL, AuthRefused(auth_text(url, end.detail)))
    if name in FATAL:
        return RetryDecision(RetryAction.FAIL, RequestRefused(f"{url} refused the audio or the account: {end.detail}"))
    if name in BUSY:
        return RetryDecision(RetryAction.RETRY, EndpointBusy(f"{url} is at its limit: {end.detail}"))
    return RetryDecision(RetryAction.RETRY, SessionLost(f"{url} reported an error: {end.detail}"))


def auth_text(url: str, detail: str) -> str:
    """The one sentence for a refused key."""
    return f"API key refused by {url} ({detail}): check STT_API_KEY and the account's access"


def _base_name(name: str) -> str:
    known = FATAL | BUSY | ROLLOVER
    for candidate in (name, name.removesuffix("_error"), f"{name}_error"):
        if candidate in known:
            return candidate
    return name
