"""Decides whether a failed session is retried. No I/O.

The module `refusals` finds the kind of an error. A session with an unknown error is retried.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import (
    AccessRefused,
    EndpointBusy,
    EndpointError,
    EndpointUnavailable,
    ProtocolRefused,
    RequestRefused,
    SessionLost,
    SessionStalled,
)
from worker.realtime import refusals
from worker.realtime.error_table import ErrorKind, RetryAction
from worker.realtime.session_states import EndReason, SessionEnd


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """How to continue after a session. `error`: the error with which the job ends if the action is FAIL or the retries
    are used up. It is None if no error occurred."""

    action: RetryAction
    error: EndpointError | None = None


def decide(end: SessionEnd, url: str) -> RetryDecision:
    """Decide how to continue after a session that ended with `end`. `url` is only used in the error's text."""
    match end.reason:
        case EndReason.COMPLETED:
            return RetryDecision(RetryAction.DONE)
        # A pause before the next session: the service may be overloaded.
        case EndReason.STALLED:
            return RetryDecision(RetryAction.RETRY, SessionStalled(f"{url}: {end.detail}"))
        case EndReason.ERROR:
            refusal = refusals.of_error(end.name, end.detail, end.retry_after_s)
        case EndReason.DROPPED:
            refusal = refusals.of_drop(end.detail, end.close_code, end.close_reason)
            if refusal.kind is ErrorKind.UNKNOWN:
                return RetryDecision(
                    RetryAction.RETRY, EndpointUnavailable(f"{url}: the connection was lost ({end.detail})")
                )
        case EndReason.CLOSED:
            refusal = refusals.of_close(end.close_code, end.close_reason, end.detail)
            # The reason of the close names no error, so only the session has ended. Services also use the code 1000 for
            # time limits and throttling.
            if not isinstance(refusal.error(url), AccessRefused | RequestRefused | EndpointBusy):
                error = SessionLost(f"{url}: the service ended the session early ({refusal.detail})")
                return RetryDecision(refusal.action, error)
    return RetryDecision(refusal.action, refusal.error(url))


def after_refusal(error: EndpointError, *, key_accepted: bool) -> RetryDecision:
    """Decide how to continue after a session that could not be opened. `key_accepted`: whether the service has accepted
    this key before. If so, an intermediary may have sent the refusal."""
    if key_accepted and isinstance(error, ProtocolRefused):
        # The service has accepted requests of this form before, so the session is retried. If the retries are used up,
        # another attempt at the job follows.
        pause_s = error.retry_after_s
        error = EndpointUnavailable(f"{error}; the service has accepted this key before")
        error.retry_after_s = pause_s
    retry = error.retryable or (key_accepted and error.may_be_transient)
    return RetryDecision(RetryAction.RETRY if retry else RetryAction.FAIL, error)


__all__ = ["RetryAction", "RetryDecision", "after_refusal", "decide"]
