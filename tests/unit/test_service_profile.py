"""A profile changes defaults only, expires, and is ignored if it is broken."""

from __future__ import annotations

import pytest

from tasks.doctor.probe.estimates import drift_of, speech_end
from worker.service_profile import LIFETIME_S, ServiceProfile, apply_profile, profile_id, read_profile
from worker.settings import load

PROFILE = ServiceProfile(
    url="https://example.com", measured_at=1000.0, commit_pause_s=2.5, max_speed=3.96, max_sessions=5,
    session_limit_s=300.0, transport="polling", options={"language_code": "confirmed", "keyterms": "refused"},
)  # fmt: skip


def test_a_profile_replaces_defaults() -> None:
    settings, applied = apply_profile(load({}), PROFILE)
    assert applied == {
        "transport": "polling", "api_key_max_sessions": 5, "speed": 3.9, "session_max_s": 270.0,
        "tail_silence_min_s": 3.0, "language_option": "language_code",
    }  # fmt: skip
    assert all(getattr(settings, name) == value for name, value in applied.items())


def test_explicit_settings_win() -> None:
    environ = {
        "STT_TRANSPORT": "auto", "STT_API_KEY_MAX_SESSIONS": "0", "STT_SPEED": "1", "STT_SESSION_MAX_S": "480",
        "STT_TAIL_SILENCE_MIN_S": "2", "STT_LANGUAGE_OPTION": "lang",
    }  # fmt: skip
    settings = load(environ)
    assert apply_profile(settings, PROFILE) == (settings, {})


@pytest.mark.parametrize(
    "profile",
    [
        None,
        ServiceProfile(url="x", measured_at=0),
        PROFILE.model_copy(
            update={
                "max_speed": 1.0,
                "transport": "websocket",
                "max_sessions": None,
                "session_limit_s": None,
                "commit_pause_s": None,
                "options": {},
            }
        ),
    ],
)
def test_what_was_not_measured_changes_nothing(profile: ServiceProfile | None) -> None:
    assert apply_profile(load({}), profile)[1] == {}


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", '{"url": 1}', "\0", PROFILE.model_dump_json().replace("5", '"x"')]
)
def test_a_broken_profile_is_ignored(text: str | None) -> None:
    assert read_profile(text, 1000.0) is None


def test_a_profile_expires() -> None:
    text = PROFILE.model_dump_json()
    assert read_profile(text, 1000.0) == PROFILE
    assert read_profile(text, 1000.0 + LIFETIME_S) is None
    assert read_profile(text, 900.0) is None, "from the future: the clock was wrong"


def test_the_name_of_a_profile_depends_on_the_key_and_does_not_reveal_it() -> None:
    names = {
        profile_id(load({"STT_URL": "https://example.com", "STT_API_KEY": key})) for key in ("secret-a", "secret-b")
    }
    assert len(names) == 2
    assert not any("secret" in name for name in names)


@pytest.mark.parametrize(
    ("starts", "drift_s"),
    [([0.4, 5.4, 10.4], 0.0), ([0.5, 5.6, 10.7, 15.8], 0.1), ([0.4, 5.41, 10.39], 0.0), ([0.4, 5.4], None), ([], None)],
)
def test_the_drift_is_the_change_from_commit_to_commit(starts: list[float], drift_s: float | None) -> None:
    assert drift_of(starts, 5.0) == drift_s


def test_the_speech_ends_after_the_last_loud_window() -> None:
    assert speech_end([0, 0.5, 0.4, 0.01, 0.3, 0.001, 0], 0.5) == 2.5
    assert speech_end([], 0.5) == speech_end([0.0], 0.5) == 0.0
