"""Limits of simultaneous deliveries, and pauses of receivers that do not answer."""

from __future__ import annotations

from dataclasses import dataclass

from worker.webhooks.receiver_limits import (
    MAX_AFTER_ANSWER,
    MAX_PER_HOST,
    MAX_PER_RECEIVER,
    MAX_REMEMBERED,
    MAX_RESPONSIVE,
    MAX_UNANSWERED,
    PAUSE_S,
    ReceiverLimits,
)


@dataclass(frozen=True)
class To:
    """A message to a receiver."""

    receiver: str = "r/a"
    host: str = "h"
    id: str = "m"


def silent(limits: ReceiverLimits, now: float, *messages: To) -> None:
    for message in messages:
        limits.begin(message)
        limits.timed_out(message, now)
        limits.end(message)


THREE = [To(id=str(number)) for number in range(MAX_UNANSWERED)]


def test_running_deliveries_reduce_what_may_start() -> None:
    limits = ReceiverLimits()
    limits.begin(To("r/a"))
    limits.begin(To("r/a"))
    limits.begin(To("r/b"))
    assert limits.free(0) == {"r/a": MAX_PER_RECEIVER - 2, "r/b": MAX_PER_RECEIVER - 1, "h": MAX_PER_HOST - 3}
    for receiver in ("r/a", "r/a", "r/b"):
        limits.end(To(receiver))
    assert limits.free(0) == {}


def test_a_receiver_that_answers_none_of_several_messages_is_paused_but_not_its_host() -> None:
    limits = ReceiverLimits()
    silent(limits, 0, *THREE[:-1])
    assert not limits.is_paused(To(), 0)
    silent(limits, 0, THREE[-1])
    assert limits.is_paused(To(), PAUSE_S - 1)
    assert not limits.is_paused(To("r/other"), 1)


def test_repeated_attempts_of_one_message_pause_nothing() -> None:
    limits = ReceiverLimits()
    silent(limits, 0, *[To()] * 20)
    assert not limits.is_paused(To(), 0)


def test_an_answer_forgets_earlier_timeouts() -> None:
    limits = ReceiverLimits()
    silent(limits, 0, *THREE[:-1])
    limits.answered(To())
    silent(limits, 0, THREE[-1])
    assert not limits.is_paused(To(), 0)


def test_after_the_pause_one_message_is_tried_at_a_time_until_the_receiver_answers() -> None:
    limits = ReceiverLimits()
    silent(limits, 0, *THREE)
    assert not limits.is_paused(To(), PAUSE_S)
    assert limits.free(PAUSE_S) == {"r/a": 1}
    limits.begin(To())
    assert limits.free(PAUSE_S)["r/a"] == 0
    limits.end(To())
    silent(limits, PAUSE_S, To())
    assert limits.is_paused(To(), PAUSE_S + 1)
    limits.answered(To())
    assert not limits.is_paused(To(), PAUSE_S + 1)
    assert limits.free(PAUSE_S + 1)["r/a"] == MAX_AFTER_ANSWER


def test_a_receiver_that_answers_gets_more_deliveries_until_it_does_not() -> None:
    limits = ReceiverLimits()
    limits.begin(To())
    limits.answered(To())
    assert limits.free(0) == {"r/a": MAX_AFTER_ANSWER - 1, "h": MAX_AFTER_ANSWER - 1}
    limits.end(To())
    assert limits.free(0) == {"r/a": MAX_AFTER_ANSWER, "h": MAX_AFTER_ANSWER}
    silent(limits, 0, To())
    assert limits.free(0) == {}
    for number in range(10 * MAX_RESPONSIVE):
        limits.answered(To(f"r{number}", f"h{number}"))
    assert len(limits.free(0)) <= MAX_RESPONSIVE


def test_silent_receivers_do_not_pause_the_others_on_their_host() -> None:
    limits = ReceiverLimits()
    for number in range(20):
        silent(limits, 0, *[To(f"r/{number}", id=f"{number} {one}") for one in range(MAX_UNANSWERED)])
        assert limits.is_paused(To(f"r/{number}"), 1)
    assert not limits.is_paused(To("r/alive"), 1)
    assert "h" not in limits.free(PAUSE_S)


def test_only_a_limited_number_of_silent_receivers_is_remembered() -> None:
    limits = ReceiverLimits()
    for number in range(MAX_REMEMBERED * 2):
        silent(limits, 0, *[To(f"r{number}", f"h{number}", id=str(one)) for one in range(MAX_UNANSWERED)])
    assert len(limits._silent) <= MAX_REMEMBERED
    assert len(limits._paused_until) <= MAX_REMEMBERED
    assert not limits._running
