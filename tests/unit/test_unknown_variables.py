"""Misspelled and removed `STT_…` variables are reported, with the setting that was probably meant."""

from __future__ import annotations

import pytest

from worker.settings import load
from worker.unknown_settings import unknown_variables


@pytest.mark.parametrize(
    ("name", "similar"),
    [
        ("STT_WORKER_SESSION", "STT_WORKER_SESSIONS"),
        ("STT_SESSIONS", "STT_WORKER_SESSIONS"),
        ("STT_ATTEMPTS", "STT_JOB_ATTEMPTS"),
        ("STT_RENEW_S", "STT_LEASE_RENEW_S"),
        ("STT_RECOGNIZER", "STT_SERVER_RECOGNIZER"),
        ("STT_MAX_SESSIONS", "STT_API_KEY_MAX_SESSIONS"),
        ("STT_FLUSH_MAX_S", "STT_TAIL_SILENCE_MAX_S"),
        ("STT_WINDOW_S", "STT_SEND_AHEAD_MAX_S"),
        ("STT_API_KEY_FIL", "STT_API_KEY_FILE"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_setting(name: str, similar: str) -> None:
    assert unknown_variables({name: "1", "PATH": "/bin"}) == [f"{name} is not a setting; did you mean {similar}?"]


def test_an_unknown_variable_unlike_all_settings_is_named_alone() -> None:
    assert unknown_variables({"STT_QQQQQQQQQQQQQQQQQQQ": "1"}) == ["STT_QQQQQQQQQQQQQQQQQQQ is not a setting"]


def test_settings_and_files_of_secrets_are_known() -> None:
    assert unknown_variables({"STT_WORKER_SESSIONS": "1", "STT_API_KEY_FILE": "/k", "STT_REDIS_URL_FILE": "/r"}) == []


def test_an_override_that_is_not_a_setting_is_a_bug() -> None:
    with pytest.raises(TypeError, match="not settings: sessions"):
        load({}, sessions=3)
