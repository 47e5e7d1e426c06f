"""Payloads of the service are parsed to typed values."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.error_names import ERROR_NAMES
from worker.realtime import messages as m


def transcript(kind: str, **fields: object) -> m.Message:
    return m.parse(m.TRANSCRIPT, {"message_type": kind, **fields})


WORD = {"text": "hi", "start": 0.5, "end": 0.8, "type": "word", "logprob": -0.5}

CONFIG = {
    "model_id": "scribe",
    "include_timestamps": True,
    "commit_on_stop": True,
    "vad_silence_threshold_secs": 1.5,
}
CASES = [
    (m.parse(m.STARTED), m.SessionStarted()),
    (m.parse(m.CLOSED, {"code": 1000, "reason": "done"}), m.Closed(1000, "done")),
    (m.parse(m.CLOSED, None), m.Closed(None, "")),
    (m.parse(m.ERROR, {"error": "rate_limited: slow down"}), m.ServiceError("rate_limited", "rate_limited: slow down")),
    (m.parse(m.ERROR, {"error": "something odd"}), m.ServiceError("unknown", "something odd")),
    (
        m.parse(m.ERROR, {"error": {"code": "rate_limited", "message": "wait", "retry_after": 12}}),
        m.ServiceError("rate_limited", "rate_limited: wait", 12.0),
    ),
    (m.parse(m.ERROR, {"error": "rate_limited", "retryAfter": "soon"}), m.ServiceError("rate_limited", "rate_limited")),
    (m.parse(m.ERROR, "quota_exceeded"), m.ServiceError("quota_exceeded", "quota_exceeded")),
    (m.parse(m.ERROR, None), m.ServiceError("unknown", "the service gave no reason")),
    (m.parse("surprise", 1), m.Unknown("surprise")),
    (transcript("session_started", session_id="x", config={"a": 1}), m.UpstreamStarted("x")),
    (transcript("session_started", config=CONFIG), m.UpstreamStarted(None, "scribe", True, True, 1.5)),
    (transcript("session_started", config=dict.fromkeys(CONFIG)), m.UpstreamStarted(None)),
    (transcript("session_started", config=dict.fromkeys(CONFIG, "x")), m.UpstreamStarted(None, "x")),
    (transcript("session_started"), m.UpstreamStarted(None)),
    (transcript("partial_transcript", text="so"), m.Partial("so")),
    (transcript("partial_transcript", text=None), m.Partial("")),
    (transcript("committed_transcript", text="hi"), m.Committed("hi", timed=False)),
    (
        transcript("committed_transcript_with_timestamps", text="hi", words=[WORD], language_code="en"),
        m.Committed("hi", timed=True, words=(m.WireWord("hi", 0.5, 0.8, round(math.exp(-0.5), 4)),), language="en"),
    ),
    (transcript("committed_transcript_with_timestamps", text="hi", words=None), m.Committed("hi", timed=True)),
    (transcript("auth_error", error="bad key"), m.ServiceError("auth_error", "bad key")),
    (transcript("rate_limited_error"), m.ServiceError("rate_limited", "rate_limited_error")),
    (transcript("new_kind_error"), m.ServiceError("new_kind_error", "new_kind_error")),
    (transcript("final_transcript_with_entities", text="hi"), m.Unknown("final_transcript_with_entities")),
    (m.parse(m.TRANSCRIPT, "text"), m.Unknown("str")),
]


@pytest.mark.parametrize(("parsed", "expected"), CASES)
def test_a_message_is_parsed(parsed: m.Message, expected: m.Message) -> None:
    assert parsed == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ({**WORD, "type": "spacing", "text": " "}, None),
        ({**WORD, "type": "audio_event", "text": "(laughs)"}, None),
        ({"text": "hi"}, m.WireWord("hi", None, None, None)),
        ({**WORD, "start": "0.5", "end": True, "logprob": math.inf}, m.WireWord("hi", None, None, None)),
        ({**WORD, "start": "0.5", "end": "0.8", "logprob": None}, m.WireWord("hi", 0.5, 0.8, None)),
        ({**WORD, "start": "soon", "end": "nan", "logprob": None}, m.WireWord("hi", None, None, None)),
        ({**WORD, "start": 10**400, "end": -(10**400), "logprob": None}, m.WireWord("hi", None, None, None)),
        ({**WORD, "start": math.nan, "end": math.inf, "logprob": None}, m.WireWord("hi", None, None, None)),
        ({**WORD, "type": None, "logprob": None}, m.WireWord("hi", 0.5, 0.8, None)),
        ({**WORD, "logprob": 0.3}, m.WireWord("hi", 0.5, 0.8, 1.0)),
        ("hi", None),
    ],
)
def test_words_are_parsed(word: object, expected: m.WireWord | None) -> None:
    message = transcript("committed_transcript_with_timestamps", text="hi", words=[word])
    assert isinstance(message, m.Committed)
    assert message.words == ((expected,) if expected else ())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=10,
)
field_names = st.sampled_from(["message_type", "text", "words", "error", "code", "reason", "config", "session_id"])
kinds = st.sampled_from(
    [m.TYPE_PARTIAL, m.TYPE_COMMITTED, m.TYPE_COMMITTED_TIMED, m.TYPE_STARTED, *sorted(ERROR_NAMES)]
)


@given(
    st.sampled_from([m.STARTED, m.TRANSCRIPT, m.ERROR, m.CLOSED, "other"]),
    json_values | st.dictionaries(field_names, json_values | kinds, max_size=6),
)
def test_parsing_never_raises(event: str, payload: object) -> None:
    assert isinstance(m.parse(event, payload), m.Message)


@pytest.mark.parametrize("value", [0, -1, 61, 10**400, math.nan, math.inf, True, "1.5", None])
def test_an_implausible_commit_pause_is_ignored(value: object) -> None:
    started = transcript("session_started", config={"vad_silence_threshold_secs": value})
    assert started == m.UpstreamStarted(None)


def test_only_one_module_of_the_client_knows_field_names() -> None:
    source = Path(m.__file__)
    # Only names with an underscore are checked, because words like "text" and "error" also have other meanings.
    fields = set(re.findall(r'get\("(\w+_\w+)"\)', source.read_text())) | {"audio_base_64", m.FIELD_COMMIT_ON_STOP}
    assert {"message_type", "vad_silence_threshold_secs"} <= fields
    for path in source.parent.glob("*.py"):
        if path != source:
            # `error_shapes` reads the errors of any service, so it knows one field name.
            allowed = {"message_type"} if path.name == "error_shapes.py" else set()
            assert not (fields - allowed) & set(re.findall(r'"(\w+)"', path.read_text())), path
