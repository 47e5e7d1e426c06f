"""The end of a session with services whose text arrives late: no phrase is lost, and no time if nothing follows."""

from __future__ import annotations

import math

import pytest

from worker.realtime.messages import Closed, Committed, Lost, Message, Partial, SessionStarted, WireWord
from worker.realtime.rate_control import RateControl
from worker.realtime.session import Session
from worker.realtime.session_states import EndReason, Phase
from worker.settings import load

RATE = 16000
PAUSE_S = 1.5
FRAME_S = 0.25
Ranges = list[tuple[float, float]]
"""Start and end of phrases or noise, in seconds since the start of the recording."""
TWO: Ranges = [(0.4, 2.0), (4.2, 4.4)]
MANY: Ranges = [(4.0 * n + 0.4, 4.0 * n + 2.4) for n in range(12)]


class LateService:
    """Transcribes `phrases` with a delay of `delay_s`, and at most `speed` times as fast as real time.

    It discards text that is not committed when the session stops. In silence it only answers if it `repeats` the empty
    partial of each second."""

    def __init__(
        self,
        phrases: Ranges,
        delay_s: float = 0.0,
        *,
        speed: float = math.inf,
        timed: bool = True,
        repeats: bool = True,
    ) -> None:
        self.phrases, self.delay_s, self.speed, self.timed, self.repeats = phrases, delay_s, speed, timed, repeats

    def messages(self, sent_at: list[float]) -> list[tuple[float, Message]]:
        """Return the messages with the clock times of their arrival, in order. `sent_at`: when each frame was sent."""
        found: list[tuple[float, Message]] = []

        def add(position_s: float, message: Message) -> None:
            if (frame := int(position_s / FRAME_S)) < len(sent_at):
                found.append((max(sent_at[frame] + self.delay_s, position_s / self.speed), message))

        for number, (start, end) in enumerate(self.phrases):
            text = f"phrase {number}"
            add(end, Partial(text))
            words = (WireWord(text, start, end, 0.9),) if self.timed else ()
            add(end + PAUSE_S, Committed(text, self.timed, words))
        for second in range(int(len(sent_at) * FRAME_S) if self.repeats else 0):
            if not any(start < second < end + PAUSE_S for start, end in self.phrases):
                add(float(second), Partial(""))
        return sorted(found, key=lambda one: one[0])


def play(
    service: LateService, length_s: float, *, speed: float = 1.0, noise: Ranges | None = None, drop_after: int = 0
) -> tuple[Session, float]:
    """Play a session over a recording of `length_s` seconds to its end, or until the connection is lost after
    `drop_after` messages of the service. Returns the session and the clock time of the stop.

    `noise`: sound that the service does not transcribe."""
    session = Session(load({}), RateControl(speed, 0.0), 0.0)
    session.connected(0.0)
    session.message(SessionStarted(), 0.0)
    now, sent_at, received = 0.0, list[float](), 0
    frame, sound = int(FRAME_S * RATE), [*service.phrases, *(noise or [])]
    while session.phase in (Phase.STREAMING, Phase.FLUSHING):
        while session.phase is Phase.STREAMING and len(sent_at) * FRAME_S <= now * speed:
            at_s = len(sent_at) * FRAME_S
            if at_s >= length_s:
                session.input_ended(now)
                break
            voiced = any(start < at_s + FRAME_S and at_s < end for start, end in sound)
            session.sent(frame, now, runs=((0, frame),) if voiced else ())
            sent_at.append(now)
        while session.phase is Phase.FLUSHING and session.padding_at(now) <= now:
            session.sent(frame, now, padding=True)
            sent_at.append(now)
        for at, message in service.messages(sent_at)[received:]:
            if at <= now:
                session.message(message, now)
                received += 1
                if received == drop_after:
                    session.disconnected(Lost("reset"), now)
        session.tick(now)
        now += 0.125
    session.message(Closed(1000, ""), now)
    return session, now


def lost(session: Session, phrases: Ranges) -> int:
    return len(phrases) - len(session.take_commits())


@pytest.mark.parametrize("timed", [True, False], ids=["word times", "plain"])
@pytest.mark.parametrize("repeats", [True, False], ids=["answers in silence", "silent"])
@pytest.mark.parametrize("delay_s", [0.5, 2.0, 4.0, 6.0])
def test_a_late_service_loses_no_last_words_in_real_time(delay_s: float, repeats: bool, timed: bool) -> None:
    service = LateService(TWO, delay_s, timed=timed, repeats=repeats)
    session, _ = play(service, 5.25)
    assert session.end is not None
    assert session.end.reason is EndReason.COMPLETED
    assert lost(session, TWO) == 0


@pytest.mark.parametrize("timed", [True, False], ids=["word times", "plain"])
@pytest.mark.parametrize("service_speed", [2.0, 4.0, 8.0])
@pytest.mark.parametrize("speed", [4.0, math.inf])
def test_a_service_slower_than_the_sending_loses_no_last_words(speed: float, service_speed: float, timed: bool) -> None:
    session, _ = play(LateService(MANY, 0.1, speed=service_speed, timed=timed), 48.0, speed=speed)
    assert lost(session, MANY) == 0


def test_a_service_whose_speed_changes_is_measured_by_its_delay() -> None:
    """The audio was sent fast at first, so the mean speed says little about the last words."""
    session = Session(load({}), RateControl(1.0, 0.0), 0.0)
    session.connected(0.0)
    session.message(SessionStarted(), 0.0)
    session.sent(80 * RATE, 10.0, runs=((0, 80 * RATE),))
    session.message(Committed("early", True, (WireWord("early", 0.0, 79.0, 0.9),)), 14.0)
    for second in range(10):
        session.sent(RATE, 11.0 + second, runs=((0, RATE),))
    session.message(Committed("late", True, (WireWord("late", 80.0, 85.0, 0.9),)), 20.0)
    session.input_ended(20.0)
    assert session._text_due >= 25.0


@pytest.mark.parametrize("timed", [True, False], ids=["word times", "plain"])
def test_noise_at_the_end_of_a_fast_service_takes_no_longer(timed: bool) -> None:
    for noise, longest_s in (([], 2.25 if timed else 4.25), ([(46.0, 47.0)], 4.25), ([(0.0, 0.3), (46.0, 47.0)], 4.25)):
        session, stopped_at = play(LateService(MANY, 0.1, timed=timed), 48.0, noise=noise)
        assert stopped_at - 48.0 <= longest_s, noise
        assert lost(session, MANY) == 0


@pytest.mark.parametrize("relative", [False, True], ids=["repeated commits", "times from the start of the segment"])
def test_times_that_show_no_position_do_not_lengthen_the_end(relative: bool) -> None:
    class Service(LateService):
        def messages(self, sent_at: list[float]) -> list[tuple[float, Message]]:
            found: list[tuple[float, Message]] = []
            for at, message in super().messages(sent_at):
                copies = [message] if relative else [message, message]
                if relative and isinstance(message, Committed):
                    copies = [Committed(message.text, timed=True, words=(WireWord(message.text, 1.9, 3.9, 0.9),))]
                found += [(at, copy) for copy in copies]
            return found

    _, stopped_at = play(Service(MANY, 0.1), 48.0, noise=[(46.5, 47.5)])
    assert stopped_at - 48.0 <= 4.5


@pytest.mark.parametrize("timed", [True, False], ids=["word times", "plain"])
def test_a_lost_connection_is_no_success_while_the_service_is_behind(timed: bool) -> None:
    """At unlimited speed all silence is sent before the first commit, so silence before a commit shows nothing."""
    service = LateService(MANY, 0.1, speed=4.0, timed=timed, repeats=False)
    session, _ = play(service, 48.0, speed=math.inf, drop_after=2 * len(MANY) - 2)
    assert session.end is not None
    assert session.end.reason is EndReason.DROPPED
    assert not session.all_committed
