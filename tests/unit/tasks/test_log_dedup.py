"""Repeated log lines are suppressed and counted."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tasks.observability.log_dedup import MAX_DIFFERENT_LINES, MAX_EQUAL_LINES, WINDOW_S, LogDeduplicator


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def dedup(clock: Clock) -> LogDeduplicator:
    return LogDeduplicator(clock)


def record(msg: Any, *args: Any, level: int = logging.ERROR, name: str = "celery", **more: Any) -> logging.LogRecord:
    return logging.LogRecord(name, level, "", 1, msg, args, more.get("exc_info"))


def words(records: Any) -> list[str]:
    return [one.msg["event"] if isinstance(one.msg, dict) else one.getMessage() for one in records]


def test_four_a_second_become_a_few_a_minute_and_a_count(dedup: LogDeduplicator, clock: Clock) -> None:
    written: list[str] = []
    for _ in range(4 * 120):
        written += words(dedup.filter(record("Cannot connect to %s: %s", "redis", "NOREPLICAS")))
        clock.now += 0.25
    assert written == [
        *["Cannot connect to redis: NOREPLICAS"] * MAX_EQUAL_LINES,
        "237 times more within 60 s: Cannot connect to redis: NOREPLICAS",
        *["Cannot connect to redis: NOREPLICAS"] * MAX_EQUAL_LINES,
    ]


def test_the_count_is_written_before_the_next_line(dedup: LogDeduplicator, clock: Clock) -> None:
    away = {"event": "intake: Redis is away", "error": "x"}
    for _ in range(MAX_EQUAL_LINES + 4):
        list(dedup.filter(record(away, level=logging.WARNING, exc_info=(ValueError, ValueError(), None))))
    clock.now += WINDOW_S
    told, other = dedup.filter(record("something else", level=logging.INFO))
    assert told.msg["event"] == "4 times more within 60 s: intake: Redis is away"
    assert (told.msg["error"], told.levelno, told.exc_info) == ("x", logging.WARNING, None)
    assert other.getMessage() == "something else"
    assert words(dedup.filter(record(away))) == ["intake: Redis is away"], "the count starts again"


def test_lines_that_differ_in_any_value_are_written(dedup: LogDeduplicator) -> None:
    lines = [record({"event": "job failed", "job": f"job-{number}"}) for number in range(50)]
    lines += [record("attempt %s", number) for number in range(50)]
    lines += [record("same", name=f"logger-{number}") for number in range(50)]
    assert [one for line in lines for one in dedup.filter(line)] == lines


def test_debug_lines_are_never_suppressed(dedup: LogDeduplicator) -> None:
    lines = [record("a frame", level=logging.DEBUG) for _ in range(50)]
    assert [one for line in lines for one in dedup.filter(line)] == lines


def test_memory_is_bounded_and_the_counts_of_dropped_lines_are_written(dedup: LogDeduplicator) -> None:
    for _ in range(MAX_EQUAL_LINES + 1):
        list(dedup.filter(record("the first")))
    written = [one for number in range(3 * MAX_DIFFERENT_LINES) for one in dedup.filter(record(f"line {number}"))]
    assert words(written)[: MAX_DIFFERENT_LINES + 1].count("1 times more within 0 s: the first") == 1
    assert len(written) == 3 * MAX_DIFFERENT_LINES + 1
    assert len(dedup._seen) <= MAX_DIFFERENT_LINES + 1
