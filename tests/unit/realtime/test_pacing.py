"""Send times of frames."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from worker.realtime.pacing import MAX_CATCH_UP_S, Pacer


def test_an_hour_of_real_time_has_no_drift() -> None:
    pacer = Pacer(1.0, start=100.0)
    frames = int(3600 / 0.25)
    for index in range(frames):
        # Every frame is 20 ms late; this does not shift the next deadline.
        pacer.sent(index * 0.25, pacer.due(index * 0.25) + 0.02)
    assert pacer.due(3600.0) == 3700.0


@given(st.floats(0.1, 50), st.floats(0, 1e5))
def test_the_speed_divides_the_deadline(speed: float, position_s: float) -> None:
    assert math.isclose(Pacer(speed, 5.0).due(position_s), 5.0 + position_s / speed)


def test_at_unlimited_speed_every_frame_is_due() -> None:
    pacer = Pacer(math.inf, start=7.0)
    pacer.sent(0, 500.0)
    assert pacer.due(1e9) == 7.0


def test_a_long_delay_shifts_the_schedule() -> None:
    pacer = Pacer(1.0, start=0.0)
    pacer.sent(10.0, 40.0)  # a hole of 30 s
    assert pacer.due(10.0) == 40.0 - MAX_CATCH_UP_S


def test_a_new_speed_counts_from_where_it_starts() -> None:
    pacer = Pacer(1.0, start=0.0)
    pacer.change(4.0, position_s=10.0, now=3.0)
    assert pacer.due(10.0) == 10.0, "a change makes nothing due sooner"
    assert pacer.due(14.0) == 11.0
    assert pacer.speed == 4.0
    unlimited = Pacer(math.inf, start=0.0)
    unlimited.change(2.0, position_s=100.0, now=5.0)
    assert unlimited.due(102.0) == 6.0
