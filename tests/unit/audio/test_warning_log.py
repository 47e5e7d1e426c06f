"""Warnings of one kind are counted, from all parts of the program."""

from __future__ import annotations

import pytest

from worker.audio.warning_log import MAX_WARNINGS, WarningLog, counted, merged


def test_a_single_warning_is_not_changed() -> None:
    texts = ("damaged at about 12.3 s: bad frame", "contains samples that are not numbers", "has only 2 channels")
    assert counted(texts) == texts
    assert counted(texts * 2) == texts, "the same text again was read twice"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("damaged at about {} s: bad frame", "damaged: bad frame (3 times, first at 12.3 s)"),
        (
            "cancel each other at {} s; channel 1 is used",
            "cancel each other; channel 1 is used (3 times, first at 12.3 s)",
        ),
        ("2.0 s from {} s on could not be decoded", "2.0 s could not be decoded (3 times, first at 12.3 s)"),
        ("session {} ended early", "session 12.3 ended early (3 times)"),
    ],
)
def test_warnings_of_one_kind_are_counted_with_the_first_position(text: str, expected: str) -> None:
    assert counted(text.format(at) for at in (12.3, 13.0, 99.0)) == (expected,)


def test_kinds_keep_the_order_of_their_first_warning() -> None:
    texts = ["b at 1.0 s", "a at 2.0 s", "b at 3.0 s"]
    assert counted(texts) == ("b (2 times, first at 1.0 s)", "a at 2.0 s")


def test_counts_of_counted_warnings_add_up() -> None:
    assert counted(["b (2 times, first at 4.0 s)", "b at 1.0 s"]) == ("b (3 times, first at 1.0 s)",)


def test_warnings_of_two_readings_are_not_added_up() -> None:
    planned = ["b (17 times, first at 12.3 s)", "a"]
    assert merged(planned, ["b at 12.3 s", "b at 14.0 s", "c"]) == ("b (17 times, first at 12.3 s)", "a", "c")
    assert merged([], ["b at 7.0 s"]) == ("b at 7.0 s",)


def test_many_warnings_use_little_memory() -> None:
    log = WarningLog(f"damaged at about {at / 10:.1f} s: bad frame" for at in range(20_000))
    assert log.texts == ("damaged: bad frame (20000 times, first at 0.0 s)",)
    log = WarningLog(f"kind {'x' * number}" for number in range(100))
    assert len(log.texts) == MAX_WARNINGS
