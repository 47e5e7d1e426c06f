"""The header Retry-After: seconds and dates are honoured up to a maximum, anything else is ignored."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.network.retry_after import MAX_RETRY_AFTER_S, retry_after_s

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("30", 30),
        (" 30 ", 30),
        ("1.5", 1.5),
        ("86400", MAX_RETRY_AFTER_S),
        ("9" * 40, MAX_RETRY_AFTER_S),
        ("Sun, 29 Nov 2026 12:01:00 GMT", 60),
        ("Sunday, 29-Nov-26 12:01:00 GMT", 60),
        ("Sun Nov 29 12:01:00 2026", 60),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 29 Nov 2027 11:00:00 GMT", MAX_RETRY_AFTER_S),
        *((garbage, None) for garbage in ("", "-5", "+5", "soon", "1e3", "inf", "nan", "0x10", "5 s", "30, 60", "９")),
        *(
            (garbage, None)
            for garbage in ("Sun, 99 Nov 2026 12:01:00 GMT", "Sun", "2026-11-29T12:01:00Z", "Sun, x" * 99)
        ),
    ],
)
def test_values(value: str, expected: float | None) -> None:
    assert retry_after_s({"Retry-After": value}, NOW) == expected


def test_the_date_of_the_response_counts_and_not_the_clock_of_this_machine() -> None:
    headers = {"Retry-After": "Sun, 29 Nov 2026 12:00:40 GMT", "Date": "Sun, 29 Nov 2026 12:00:10 GMT"}
    assert retry_after_s(headers, datetime(2020, 1, 1, tzinfo=UTC)) == 30


def test_no_header() -> None:
    assert retry_after_s({}) is None
