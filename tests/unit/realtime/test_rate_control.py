"""The speed falls immediately and rises slowly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.realtime.rate_control import HOLD_S, MAX_AUTO_SPEED, RateControl


def test_a_fixed_speed_is_constant_until_the_service_is_overloaded() -> None:
    control = RateControl(4.0, 0.0)
    assert control.current(1000.0) == 4.0
    control.overloaded(1000.0, achieved=3.8, reason="queue_overflow")
    assert control.current(1000.0) == 1.9
    assert control.current(1000.0 + HOLD_S) == 1.9
    assert 1.9 < control.current(1020.0) < 4.0
    assert control.current(2000.0) == 4.0
    assert [(c.speed, c.reason) for c in control.changes] == [(1.9, "queue_overflow")]


def test_at_unlimited_speed_the_achieved_speed_is_halved() -> None:
    control = RateControl(math.inf, 0.0)
    control.overloaded(10.0, achieved=60.0, reason="rate_limited")
    assert control.current(10.0) == 30.0
    assert math.isfinite(control.current(10_000.0))


def test_real_time_is_the_minimum() -> None:
    for asked in (1.0, 2.0, math.inf, "auto"):
        control = RateControl(asked, 0.0)  # type: ignore[arg-type]
        for _ in range(10):
            control.overloaded(1.0, achieved=0.2, reason="x")
        assert control.current(1.0) == 1.0
    slow = RateControl(0.5, 0.0)
    slow.overloaded(1.0, achieved=0.5, reason="x")
    assert slow.current(1.0) == 0.5


def test_auto_rises_from_real_time_and_falls_without_new_text() -> None:
    control = RateControl("auto", 0.0)
    assert control.current(0.0) == 1.0
    assert control.current(60.0) == pytest.approx(4.0)
    control.lag(60.0, unanswered_s=5.0)
    assert control.current(60.0) == pytest.approx(4.0)
    control.lag(60.0, unanswered_s=9.0)
    assert control.current(60.0) == pytest.approx(2.0)
    control.lag(61.0, unanswered_s=20.0)
    assert control.current(61.0) == pytest.approx(2.0), "one lag is one fall"
    assert control.current(1e6) == MAX_AUTO_SPEED


@given(
    st.sampled_from([1.0, 3.0, math.inf, "auto"]),
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["trouble", "lag", "look"]), st.floats(0, 200)), max_size=30),
)
def test_the_speed_is_always_within_its_bounds(asked, events) -> None:  # type: ignore[no-untyped-def]
    control, now = RateControl(asked, 0.0), 0.0
    for step, kind, value in events:
        now += step
        before = control.current(now)
        if kind == "trouble":
            control.overloaded(now, value, "x")
            assert control.current(now) <= before
        elif kind == "lag":
            control.lag(now, value)
            assert control.current(now) <= before
        ceiling = MAX_AUTO_SPEED if asked == "auto" else asked
        assert 1.0 <= control.current(now) <= ceiling


def test_auto_starts_with_the_last_known_speed() -> None:
    assert RateControl("auto", 0.0, 6.0).current(0.0) == 6.0
    assert RateControl("auto", 0.0, 60.0).current(0.0) == MAX_AUTO_SPEED
    assert RateControl("auto", 0.0, 0.2).current(0.0) == 1.0
    assert RateControl(2.0, 0.0, 6.0).current(0.0) == 2.0
