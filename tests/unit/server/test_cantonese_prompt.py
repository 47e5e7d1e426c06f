"""The prompt that lets a model without Cantonese write it: its echo without speech, and numbers as they are spoken."""

from __future__ import annotations

import pytest

from worker.server.recognizers.cantonese_prompt import digit_tokens, is_prompt_echo, may_have_speech


@pytest.mark.parametrize(
    ("text", "no_speech", "mean_logprob"),
    [
        ("唔,佢哋。", 0.94, -0.92),  # silence
        ("喺、唔、佢哋。", 0.98, -0.65),  # drums
        ("唔,佢哋。", 0.73, -0.83),  # white noise of 25 s
        ("喺、喺,喺,", 0.3, -1.05),  # a tone of 15 s
        ("", 0.94, -1.59),
        ("你好", 0.95, -0.9),
    ],
)
def test_the_prompt_written_for_a_segment_without_speech_is_an_echo(
    text: str, no_speech: float, mean_logprob: float
) -> None:
    assert is_prompt_echo(text, no_speech, mean_logprob)


@pytest.mark.parametrize(
    ("text", "no_speech", "mean_logprob"),
    [
        ("七八九十。", 0.82, -0.35),
        ("Nine, zero, two", 0.97, -0.26),
        ("say, 嗯, 六。", 0.33, -1.03),
        ("唔係。", 0.05, -0.5),
        ("六個星期嘅課程,", 0.42, -0.27),
    ],
)
def test_speech_is_no_echo(text: str, no_speech: float, mean_logprob: float) -> None:
    assert not is_prompt_echo(text, no_speech, mean_logprob)


def test_an_echo_on_speech_of_another_language_may_have_speech() -> None:
    assert is_prompt_echo("咁,咁,咁。", 0.44, -0.7)
    assert may_have_speech(0.44)
    assert not may_have_speech(0.94)


def test_all_text_tokens_with_digits_are_found_and_no_special_token() -> None:
    vocabulary = {"5": 3, "Ġ20": 1, "MP3": 7, "三": 4, "<|0.20|>": 9, "a": 2}
    assert digit_tokens(vocabulary) == [1, 3, 7]
