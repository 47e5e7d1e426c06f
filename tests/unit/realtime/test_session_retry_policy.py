"""The end of a session to what follows: a row for each name the service is known to use."""

from __future__ import annotations

import pytest

from worker.errors import (
    AuthRefused,
    EndpointBusy,
    EndpointUnavailable,
    RequestRefused,
    SessionLost,
    SessionStalled,
)
from worker.realtime.messages import ERROR_NAMES
from worker.realtime.session_retry_policy import Action, decide
from worker.realtime.session_states import End, Why

NAMES = {
    "auth_error": (Action.FAIL, AuthRefused),
    "quota_exceeded": (Action.FAIL, RequestRefused),
    "unaccepted_terms": (Action.FAIL, RequestRefused),
    "input_error": (Action.FAIL, RequestRefused),
    "invalid_request": (Action.FAIL, RequestRefused),
    "chunk_size_exceeded": (Action.FAIL, RequestRefused),
    "rate_limited": (Action.RETRY, EndpointBusy),
    "queue_overflow": (Action.RETRY, EndpointBusy),
    "resource_exhausted": (Action.RETRY, EndpointBusy),
    "transcriber_error": (Action.RETRY, SessionLost),
    "error": (Action.RETRY, SessionLost),
    "session_time_limit_exceeded": (Action.ROLLOVER, SessionLost),
    "insufficient_audio_activity": (Action.ROLLOVER, SessionLost),
    "commit_throttled": (Action.ROLLOVER, SessionLost),
    "unknown": (Action.RETRY, SessionLost),
    "something_new_error": (Action.RETRY, SessionLost),
}


def test_every_known_name_has_a_row() -> None:
    assert set(NAMES) >= ERROR_NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["", "_error"])
def test_error_names(name: str, suffix: str) -> None:
    spelled = name if name.endswith("_error") else name + suffix
    action, error = NAMES[name]
    decision = decide(End(Why.ERROR, name=spelled, detail="the text"), "https://stt.example")
    assert decision.action is action
    assert type(decision.error) is error
    assert "https://stt.example" in str(decision.error)
    assert "the text" in str(decision.error)


@pytest.mark.parametrize(
    ("why", "action", "error"),
    [
        (Why.COMPLETED, Action.DONE, type(None)),
        (Why.CLOSED, Action.ROLLOVER, SessionLost),
        (Why.DROPPED, Action.RETRY, EndpointUnavailable),
        (Why.STALLED, Action.RETRY, SessionStalled),
    ],
)
def test_other_ends(why: Why, action: Action, error: type) -> None:
    decision = decide(End(why, detail="x"), "https://stt.example")
    assert decision.action is action
    assert type(decision.error) is error


@pytest.mark.parametrize(
    ("code", "action"), [(1000, Action.ROLLOVER), (None, Action.ROLLOVER), (1001, Action.RETRY), (1013, Action.RETRY)]
)
def test_a_service_that_goes_away_is_given_a_moment(code: int | None, action: Action) -> None:
    assert decide(End(Why.CLOSED, close_code=code), "https://stt.example").action is action


def test_a_refused_key_is_said_in_one_sentence() -> None:
    decision = decide(End(Why.ERROR, name="auth_error", detail="expired"), "https://stt.example")
    assert str(decision.error).startswith("API key refused by https://stt.example")
