"""A recognizer that repeats itself at the end of a segment is detected. The input of the tests is lists of tokens."""

from __future__ import annotations

import pytest

from worker.server.recognizers.repetition_loop import without_final_loop

SPEECH = [11, 12, 13, 14, 15]


@pytest.mark.parametrize("unit", [[1], [1, 2], [1, 2, 3], list(range(30, 42))])
@pytest.mark.parametrize("cut_off", [0, 1])
def test_a_loop_after_speech_leaves_its_first_round(unit: list[int], cut_off: int) -> None:
    loop = (unit * 60)[: 60 - cut_off if len(unit) > 1 else 60]
    assert without_final_loop([*SPEECH, *loop], 3.0) == [*SPEECH, *unit]


@pytest.mark.parametrize("unit", [[1], [1, 2], [1, 2, 3]])
def test_a_loop_from_the_start_leaves_nothing(unit: list[int]) -> None:
    assert without_final_loop(unit * 20, 2.0) == []


@pytest.mark.parametrize(
    ("tokens", "duration_s"),
    [
        ([1] * 12, 2.0),  # laughter: as many tokens as can be spoken
        ([*SPEECH, 1, 2, 1, 2, 1, 2], 2.0),
        (list(range(60)), 2.0),  # fast, and nothing repeats
        ([*([1, 2] * 10), *range(20, 60)], 2.0),  # the repetition is not at the end
        ([*range(30), 7, 7, 7], 2.0),  # three times is no loop
        ([], 1.0),
    ],
)
def test_speech_with_repetitions_is_unchanged(tokens: list[int], duration_s: float) -> None:
    assert without_final_loop(tokens, duration_s) == tokens
