"""The action after the end of a session, for each known error name."""

from __future__ import annotations

import pytest

from tests.support.error_names import ERROR_NAMES
from worker.errors import (
    AccountRefused,
    AuthRefused,
    EndpointBusy,
    EndpointUnavailable,
    RequestRefused,
    SessionLost,
    SessionStalled,
)
from worker.realtime.session_retry_policy import RetryAction, decide
from worker.realtime.session_states import EndReason, SessionEnd

NAMES = {
    "auth_error": (RetryAction.FAIL, AuthRefused),
    "quota_exceeded": (RetryAction.FAIL, AccountRefused),
    "unaccepted_terms": (RetryAction.FAIL, AccountRefused),
    "input_error": (RetryAction.FAIL, RequestRefused),
    "invalid_request": (RetryAction.FAIL, RequestRefused),
    "chunk_size_exceeded": (RetryAction.FAIL, RequestRefused),
    "rate_limited": (RetryAction.RETRY, EndpointBusy),
    "queue_overflow": (RetryAction.RETRY, EndpointBusy),
    "resource_exhausted": (RetryAction.RETRY, EndpointBusy),
    "transcriber_error": (RetryAction.RETRY, SessionLost),
    "error": (RetryAction.RETRY, SessionLost),
    "session_time_limit_exceeded": (RetryAction.ROLLOVER, SessionLost),
    "insufficient_audio_activity": (RetryAction.ROLLOVER, SessionLost),
    "commit_throttled": (RetryAction.ROLLOVER, SessionLost),
    "unknown": (RetryAction.RETRY, SessionLost),
    "something_new_error": (RetryAction.RETRY, SessionLost),
}


def test_every_known_error_name_is_tested() -> None:
    assert set(NAMES) >= ERROR_NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["", "_error"])
def test_an_error_name_decides_the_action(name: str, suffix: str) -> None:
    spelled = name if name.endswith("_error") else name + suffix
    action, error = NAMES[name]
    decision = decide(SessionEnd(EndReason.ERROR, name=spelled, detail="the text"), "https://stt.example")
    assert decision.action is action
    assert type(decision.error) is error
    assert "https://stt.example" in str(decision.error)
    assert "the text" in str(decision.error)


@pytest.mark.parametrize(
    ("reason", "action", "error"),
    [
        (EndReason.COMPLETED, RetryAction.DONE, type(None)),
        (EndReason.CLOSED, RetryAction.ROLLOVER, SessionLost),
        (EndReason.DROPPED, RetryAction.RETRY, EndpointUnavailable),
        (EndReason.STALLED, RetryAction.RETRY, SessionStalled),
    ],
)
def test_other_end_reasons_decide_the_action(reason: EndReason, action: RetryAction, error: type) -> None:
    decision = decide(SessionEnd(reason, detail="x"), "https://stt.example")
    assert decision.action is action
    assert type(decision.error) is error


@pytest.mark.parametrize(
    ("code", "action"),
    [(1000, RetryAction.ROLLOVER), (None, RetryAction.ROLLOVER), (1001, RetryAction.RETRY), (1013, RetryAction.RETRY)],
)
def test_the_close_code_decides_the_action(code: int | None, action: RetryAction) -> None:
    assert decide(SessionEnd(EndReason.CLOSED, close_code=code), "https://stt.example").action is action


def test_a_refused_key_names_the_address() -> None:
    decision = decide(SessionEnd(EndReason.ERROR, name="auth_error", detail="expired"), "https://stt.example")
    assert str(decision.error).startswith("API key refused by https://stt.example")
