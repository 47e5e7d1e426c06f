"""Decides whether a failed session is retried. No I/O.

The error names are documented by the upstream of the service; each may have the suffix `_error`. Unknown errors are
retried.
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
    """How the remaining audio is processed."""

    DONE = "done"  # no audio remains
    FAIL = "fail"  # a later session cannot succeed
    RETRY = "retry"  # a new session after a pause
    ROLLOVER = "rollover"  # a new session at once


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """How to continue after a session. `error`: the error that the job gets if the action is FAIL or the retries are
    used up; None if no error occurred."""

    action: RetryAction
    error: EndpointError | None = None


FATAL: Final = frozenset(
    {"auth_error", "quota_exceeded", "unaccepted_terms", "input_error", "invalid_request", "chunk_size_exceeded"}
)
"""Error names after which a later session cannot succeed."""
BUSY: Final = frozenset({"rate_limited", "queue_overflow", "resource_exhausted"})
"""Error names of an overloaded service: a new session must wait."""
ROLLOVER: Final = frozenset({"session_time_limit_exceeded", "insufficient_audio_activity", "commit_throttled"})
"""Error names that concern only the ended session: a new session may start at once."""

RETRY_CLOSE_CODES: Final = frozenset({1001, 1011, 1012, 1013})
"""WebSocket close codes (RFC 6455 and the IANA registry) of a service that shuts down, failed, restarts or is
overloaded: a new session must wait."""


def decide(end: SessionEnd, url: str) -> RetryDecision:
    """Decide how to continue after a session that ended with `end`. `url` is only used in the error's text."""
    if end.reason is EndReason.COMPLETED:
        return RetryDecision(RetryAction.DONE)
    if end.reason is EndReason.ERROR:
        return _decide_error(end, url)
    # A pause before the next session: the service may be overloaded.
    if end.reason is EndReason.STALLED:
        return RetryDecision(RetryAction.RETRY, SessionStalled(f"{url}: {end.detail}"))
    if end.reason is EndReason.DROPPED:
        return RetryDecision(RetryAction.RETRY, EndpointUnavailable(f"{url}: the connection was lost ({end.detail})"))
    # Services use the code 1000 also for time limits and throttling. Only the codes in the set ask for a pause.
    action = RetryAction.RETRY if end.close_code in RETRY_CLOSE_CODES else RetryAction.ROLLOVER
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
    """Return the error message for a refused API key."""
    return f"API key refused by {url} ({detail}): check STT_API_KEY and the account's access"


def _base_name(name: str) -> str:
    known = FATAL | BUSY | ROLLOVER
    for candidate in (name, name.removesuffix("_error"), f"{name}_error"):
        if candidate in known:
            return candidate
    return name
