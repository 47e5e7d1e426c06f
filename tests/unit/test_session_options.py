"""Options of sessions that cannot be sent are refused with the reason. Valid options arrive unchanged."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from tasks.cli import main
from tasks.execution.attempt import session_options_of
from tasks.job_spec import JobSpec
from worker.errors import SettingsError
from worker.session_options import MAX_BYTES, MAX_OPTIONS, checked_options, merged, parse_options
from worker.settings import load


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("language_code=yue", "JSON object"),
        ("[1]", "JSON object"),
        ('"yue"', "JSON object"),
        ("null", "JSON object"),
        ("[" * 100_000, "JSON object"),
        ('{"sampleRate": 8000}', "STT_SAMPLE_RATE"),
        ('{"SAMPLE_RATE": 8000}', "STT_SAMPLE_RATE"),
        ('{"": 1}', "a name has"),
        ('{"a b": 1}', "a name has"),
        ('{"語言": 1}', "a name has"),
        ('{"x\\n": 1}', "a name has"),
        ('{"x": NaN}', "finite"),
        ('{"x": 1e999}', "finite"),
        ('{"x": "\\ud800"}', "finite"),
        ('{"x": [[[[1]]]]}', "nested"),
        (f'{{"x": "{"y" * MAX_BYTES}"}}', "bytes"),
        ("{" + ", ".join(f'"x{n}": 1' for n in range(MAX_OPTIONS + 1)) + "}", "at most"),
    ],
)
def test_options_that_cannot_be_sent_are_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_options(text)
    with pytest.raises(SettingsError, match="STT_SESSION_OPTIONS"):
        load({"STT_SESSION_OPTIONS": text})


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), scalars | st.lists(scalars, max_size=3), max_size=4
    )
)
def test_valid_options_are_unchanged(options: dict[str, Any]) -> None:
    assert checked_options(options) == options


def test_options_of_a_job_replace_those_of_the_settings() -> None:
    assert merged({"a": 1, "b": 2, "c": 3}, {"b": 5, "c": None, "d": False}) == {"a": 1, "b": 5, "d": False}


def test_no_options_are_an_empty_text() -> None:
    assert parse_options(" ") == {}


@pytest.mark.parametrize("command", ["run", "submit", "watch"])
def test_a_command_refuses_options_that_are_no_json_object(command: str) -> None:
    result = CliRunner().invoke(main, [command, "--session-options", "language_code=yue", ".", "--out", "x"])
    assert result.exit_code == 2
    assert "must be a JSON object" in result.output


@pytest.mark.parametrize(
    ("language", "own", "expected"),
    [
        ("yue", {}, {"a": 1, "language_code": "yue"}),
        (None, {}, {"a": 1}),
        ("yue", {"language_code": "zh"}, {"a": 1, "language_code": "zh"}),
        ("yue", {"language_code": None}, {"a": 1}),
    ],
)
def test_the_language_is_an_option_only_where_a_setting_names_it(
    language: str | None, own: dict[str, Any], expected: dict[str, Any]
) -> None:
    spec = JobSpec.model_validate({"source": "/a.wav", "language": language, "session_options": own})
    settings = load({"STT_SESSION_OPTIONS": '{"a": 1}', "STT_LANGUAGE_OPTION": "language_code"})
    assert session_options_of(spec, settings) == expected
    without = load({"STT_SESSION_OPTIONS": '{"a": 1}'})
    assert "language_code" not in session_options_of(spec, without) or own.get("language_code")


def test_an_invalid_name_of_the_language_option_is_refused() -> None:
    with pytest.raises(SettingsError, match="STT_LANGUAGE_OPTION"):
        load({"STT_LANGUAGE_OPTION": "sampleRate"})
