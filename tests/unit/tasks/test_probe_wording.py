"""The lines of `doctor --probe` are sentences, whatever was measured."""

from __future__ import annotations

from typing import Any

import pytest

from tasks.doctor.probe.wording import sentence


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (
            {"transport": "websocket", "commit_pause_s": 1.61, "word_times": True},
            "text is committed 1.61 s after the end of speech, with word times, over websocket",
        ),
        ({"transport": "", "commit_pause_s": None, "word_times": None}, "no text was committed"),
        ({"commits_on_stop": True}, "stop-session commits the last words"),
        ({"commits_on_stop": False}, "stop-session does not commit the last words"),
        ({"sessions_tested": 16}, "16 sessions were open at the same time; none was refused"),
        ({"sessions_tested": 1}, "1 session was open at the same time; none was refused"),
        (
            {"sessions_tested": 3, "max_sessions": 1, "idle_close_s": 60.0},
            "at most 1 session may be open at the same time; a session without messages is closed after 60 s",
        ),
        ({"options": {"language_code": "confirmed"}}, "language_code is confirmed"),
        ({"options": {}}, "none was sent"),
        ({"max_speed": 8.0}, "audio is accepted at 8 times real time"),
        ({"max_speed": None, "refused_speed": 1.0}, "no speed was accepted, and not at 1 times"),
        ({"drift_s": -0.12}, "word times are 0.12 s earlier with each commit"),
        ({"drift_s": None}, "not found: too few words have times"),
        ({"session_limit_s": 480.0, "session_tested_s": 480.0}, "a session ends after 480 s of audio"),
        ({"session_tested_s": 300.0}, "a session with 300 s of audio was not ended; longer ones were not tried"),
    ],
)
def test_a_measurement_is_a_sentence(facts: dict[str, Any], text: str) -> None:
    assert sentence(facts) == text
