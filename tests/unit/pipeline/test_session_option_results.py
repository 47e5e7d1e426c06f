"""The results of session options: confirmed, changed, not confirmed, or omitted after a refusal."""

from __future__ import annotations

import pytest

from worker.pipeline.session_option_results import MAX_SHOWN, SessionOptionResults, warnings
from worker.realtime.session_states import EndReason, SessionEnd
from worker.secret_masking import masker_of
from worker.settings import load

SETTINGS = load({"STT_API_KEY": "a-long-secret-key"})
REFUSED = SessionEnd(EndReason.CLOSED, detail="closed with 1008: invalid_request", close_code=1008)


def results(**requested: object) -> SessionOptionResults:
    return SessionOptionResults(requested, masker_of(SETTINGS))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("requested", "config", "result"),
    [
        ("yue", {"x": "yue"}, "confirmed"),
        ("YUE", {"x": "yue"}, "confirmed"),
        (0.5, {"x": "0.50"}, "confirmed"),
        (1, {"x": 1.0}, "confirmed"),
        (True, {"x": "true"}, "confirmed"),
        (["a", "b"], {"x": ["a", "b"]}, "confirmed"),
        (["a", "b"], {"x": ["a"]}, "changed"),
        ({"a": 1}, {"x": "a"}, "changed"),
        ("yue", {"x": None}, "changed"),
        ("yue", {"y": "yue"}, "unconfirmed"),
        ("yue", {}, "unconfirmed"),
        ("yue", None, "unconfirmed"),
    ],
)
def test_the_configuration_decides(requested: object, config: dict[str, object] | None, result: str) -> None:
    options = results(x=requested)
    options.confirm(options.current(), config)
    (fact,) = options.facts()
    assert fact.result == result
    assert bool(warnings(options.facts())) == (result != "confirmed")


def test_values_of_the_service_are_masked_and_bounded() -> None:
    options = results(x="a", y="b")
    options.confirm(options.current(), {"x": f"a-long-secret-key\x1b[31m{'z' * 5000}", "y": [[["deep"] * 1000]]})
    for fact in options.facts():
        assert "a-long-secret-key" not in fact.detail
        assert "\x1b" not in fact.detail
        assert len(fact.detail) <= MAX_SHOWN


def test_the_option_that_the_reason_names_is_left_out() -> None:
    options = results(language_code="yue", keyterms=["x"])
    end = SessionEnd(EndReason.ERROR, name="invalid_request", detail="invalid_request: 'keyterms' is not allowed")
    assert options.refuse(options.current(), end, transcribed=False) == ["keyterms"]
    assert options.current() == {"language_code": "yue"}
    assert "keyterms" in warnings(options.facts())[0]


def test_all_options_are_left_out_if_the_reason_names_none() -> None:
    options = results(a=1, b=2)
    assert options.refuse(options.current(), REFUSED, transcribed=False) == ["a", "b"]
    assert options.current() == {}
    # A session without options that ends in the same way was not refused because of them.
    assert options.refuse(options.current(), REFUSED, transcribed=False) == ()


def test_a_session_of_another_section_with_the_same_options_is_opened_again_too() -> None:
    options = results(a=1)
    first = second = options.current()
    assert options.refuse(first, REFUSED, transcribed=False)
    assert options.refuse(second, REFUSED, transcribed=False)


@pytest.mark.parametrize(
    "end",
    [
        SessionEnd(EndReason.COMPLETED),
        SessionEnd(EndReason.CLOSED, detail="closed with 1000", close_code=1000),
        SessionEnd(EndReason.DROPPED, detail="lost"),
        SessionEnd(
            EndReason.CLOSED, detail="closed with 1008: Too many concurrent sessions, try later", close_code=1008
        ),
        SessionEnd(EndReason.CLOSED, detail="closed with 1008: Invalid API key", close_code=1008),
        SessionEnd(EndReason.CLOSED, detail="closed with 1008: Insufficient credits", close_code=1008),
        SessionEnd(EndReason.CLOSED, detail="closed with 1008: session_time_limit_exceeded", close_code=1008),
        SessionEnd(EndReason.ERROR, name="auth_error", detail="auth_error"),
        SessionEnd(EndReason.ERROR, name="quota_exceeded", detail="quota_exceeded"),
    ],
)
def test_other_ends_are_no_refusal_of_options(end: SessionEnd) -> None:
    options = results(a=1)
    assert options.refuse(options.current(), end, transcribed=False) == ()


def test_a_session_with_text_was_not_refused_because_of_its_options() -> None:
    options = results(a=1)
    assert options.refuse(options.current(), REFUSED, transcribed=True) == ()
