"""The state machine of a session, without network and clock."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.realtime.messages import (
    REASON_STOPPED,
    TRANSCRIPT,
    TYPE_STARTED,
    Closed,
    Committed,
    Lost,
    Partial,
    ServiceError,
    SessionStarted,
    Unknown,
    WireWord,
    parse,
)
from worker.realtime.rate_control import RateControl
from worker.realtime.session import Session
from worker.realtime.session_states import EndReason, Phase
from worker.settings import load

RATE = 16000
SETTINGS = load({})


def timed(text: str, start: float, end: float) -> Committed:
    return Committed(text, timed=True, words=(WireWord(text, start, end, 0.9),))


class Driver:
    """Plays a session second by second."""

    def __init__(self, speed: float = 1.0, **config: Any) -> None:
        self.now = 0.0
        self.session = Session(SETTINGS, RateControl(speed, 0.0), 0.0)
        self.session.connected(0.0)
        self.hear(SessionStarted())
        if config:
            self.hear(parse(TRANSCRIPT, {"message_type": TYPE_STARTED, "session_id": "s1", "config": config}))

    def hear(self, *messages: Any) -> None:
        for message in messages:
            self.session.message(message, self.now)

    def speak(self, seconds: float, *, voiced: bool = True, wall: float | None = None) -> None:
        self.session.sending(self.now)
        self.now += seconds if wall is None else wall
        samples = int(seconds * RATE)
        self.session.sent(samples, self.now, runs=((0, samples),) if voiced else ())
        self.session.tick(self.now)

    def pad(self, seconds: float) -> None:
        """Stream silence at the times of the session, with ticks, until its phase changes or `seconds` have passed."""
        end = self.now + seconds
        while self.now < end and self.session.phase is Phase.FLUSHING:
            self.now = max(self.now, self.session.padding_at(self.now))
            self.session.sent(RATE // 4, self.now, padding=True)
            self.session.tick(self.now)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds * 4)):
            self.now += 0.25
            self.session.tick(self.now)

    def finish_input(self) -> None:
        self.session.input_ended(self.now)

    @property
    def end_reason(self) -> EndReason | None:
        return self.session.end.reason if self.session.end else None


def test_the_phases_of_a_plain_session() -> None:
    d = Driver()
    assert d.session.phase is Phase.STREAMING
    d.speak(3)
    d.hear(timed("hello", 0.5, 2.8))
    d.finish_input()
    assert d.session.phase is Phase.FLUSHING
    d.pad(10)
    assert d.session.phase is Phase.STOPPING
    d.hear(Closed(1000, ""))
    assert d.end_reason is EndReason.COMPLETED
    assert [c.text for c in d.session.take_commits()] == ["hello"]


def test_a_service_that_commits_on_stop_needs_no_silence() -> None:
    d = Driver(commit_on_stop=True)
    d.speak(3)
    d.finish_input()
    assert d.session.phase is Phase.STOPPING
    d.hear(timed("late", 0.5, 2.9), Closed(1000, ""))
    assert d.end_reason is EndReason.COMPLETED


def test_a_close_that_crossed_the_stop_is_no_success() -> None:
    for text, expected in (("", EndReason.CLOSED), (REASON_STOPPED, EndReason.COMPLETED)):
        d = Driver(commit_on_stop=True)
        d.speak(3)
        d.finish_input()
        d.hear(Closed(1000, text))
        assert d.end_reason is expected


def test_the_wait_for_the_close_is_bounded() -> None:
    d = Driver()
    d.speak(1, voiced=False)
    d.finish_input()
    d.pad(30)
    assert d.session.phase is Phase.STOPPING
    d.wait(6)
    assert d.end_reason is EndReason.COMPLETED


def test_the_tail_flush_waits_for_text_in_progress() -> None:
    d = Driver()
    d.speak(3)
    d.hear(Partial("and then he"))
    d.finish_input()
    d.pad(20)
    assert d.session.phase is Phase.FLUSHING
    d.hear(timed("and then he", 0.5, 2.9))
    d.pad(2)
    assert d.session.phase is Phase.STOPPING
    assert d.session.pending_text == ""
    assert d.session.padding_samples <= 23 * RATE


def test_a_service_that_never_commits_stalls_within_the_maximum() -> None:
    d = Driver()
    d.speak(3)
    d.hear(Partial("never to be"))
    d.finish_input()
    for _ in range(100):
        d.pad(1)
        d.hear(Partial("never to be"))
    assert d.session.phase is Phase.STOPPING
    assert d.session.pending_text == "never to be"
    assert d.session.padding_samples / RATE == pytest.approx(SETTINGS.tail_silence_max_s, abs=1)


def test_a_service_that_falls_silent_before_the_end_is_no_success() -> None:
    d = Driver()
    d.speak(3)
    d.hear(Partial("the first words"))
    d.speak(5)
    d.finish_input()
    d.pad(200)
    assert d.end_reason is EndReason.STALLED
    assert d.session.pending_text == "the first words"


def test_a_service_that_answers_neither_the_last_words_nor_the_stop_is_no_success() -> None:
    d = Driver()
    d.speak(5)
    d.finish_input()
    d.pad(200)
    assert d.session.phase is Phase.STOPPING
    d.wait(6)
    assert d.end_reason is EndReason.STALLED


def test_echoes_of_a_commit_are_not_text_in_progress() -> None:
    d = Driver()
    d.speak(3)
    d.hear(Partial("he said"), timed("he said so", 0.2, 2.9), Partial("he said so"), Partial("he said"))
    assert d.session.pending_text == ""
    d.hear(Partial("and left"))
    assert d.session.pending_text == "and left"


def test_a_committed_tail_ends_the_flush_early() -> None:
    d = Driver()
    d.speak(5)
    d.hear(timed("all", 0.5, 4.9))
    d.finish_input()
    d.pad(60)
    assert d.session.padding_samples / RATE == pytest.approx(2.0, abs=0.26)


def test_a_commit_caused_by_the_silence_ends_the_flush() -> None:
    d = Driver()
    d.speak(5)
    d.finish_input()
    d.pad(1.5)
    d.hear(timed("all", 0.5, 4.9))
    d.pad(60)
    assert d.session.phase is Phase.STOPPING
    assert d.session.padding_samples / RATE == pytest.approx(1.75, abs=0.26)


def test_a_commit_of_earlier_speech_does_not_end_the_flush() -> None:
    """It was sent before the silence began, so another commit may still follow."""
    d = Driver()
    d.speak(5)
    d.finish_input()
    d.pad(1.0)
    d.hear(timed("nearly all", 0.5, 4.4))
    d.pad(0.5)
    assert d.session.phase is Phase.FLUSHING
    d.pad(0.5)
    assert d.session.phase is Phase.STOPPING


def test_the_commit_pause_of_the_service_sets_the_minimum_of_the_flush() -> None:
    d = Driver(vad_silence_threshold_secs=3.0)
    d.speak(5)
    d.hear(timed("all", 0.5, 4.9))
    d.finish_input()
    d.pad(60)
    assert d.session.padding_samples / RATE == pytest.approx(3.5, abs=0.26)


def test_unanswered_speech_gets_the_full_flush() -> None:
    d = Driver()
    d.speak(5)
    d.hear(timed("first", 0.5, 2.0))
    d.speak(2)
    d.finish_input()
    d.pad(30)
    assert d.session.phase is Phase.FLUSHING
    d.pad(30)
    assert d.session.phase is Phase.STOPPING


def test_answers_without_new_text_end_the_flush() -> None:
    d = Driver()
    d.speak(5)
    d.finish_input()
    for _ in range(8):
        d.pad(1)
        d.hear(Partial(""))
    d.pad(1)
    assert d.session.phase is Phase.STOPPING


@pytest.mark.parametrize("name", ["commit_throttled", "input_error", "insufficient_audio_activity"])
def test_harmless_errors_at_the_end(name: str) -> None:
    d = Driver()
    d.speak(3)
    d.hear(ServiceError(name, name))
    assert d.end_reason is EndReason.ERROR
    d = Driver()
    d.speak(3)
    d.hear(timed("x", 0, 2.9))
    d.finish_input()
    d.hear(ServiceError(name, name))
    assert d.end_reason is None


def test_a_close_before_the_stop_is_no_success() -> None:
    d = Driver()
    d.speak(3)
    d.hear(Closed(1000, "idle"))
    assert d.end_reason is EndReason.CLOSED


def test_an_abnormal_close_after_the_stop_is_no_success_with_an_open_tail() -> None:
    d = Driver(commit_on_stop=True)
    d.speak(3)
    d.finish_input()
    d.hear(Closed(1011, "broken"))
    assert d.end_reason is EndReason.CLOSED


def test_a_lost_connection_after_a_committed_tail_is_a_success() -> None:
    d = Driver()
    d.speak(3)
    d.hear(timed("x", 0, 2.9))
    d.finish_input()
    d.pad(10)
    d.session.disconnected(Lost("transport error"), d.now)
    assert d.end_reason is EndReason.COMPLETED
    d = Driver()
    d.speak(3)
    d.session.disconnected(Lost("transport error"), d.now)
    assert d.end_reason is EndReason.DROPPED


def test_missing_answers_stall_the_session() -> None:
    silent_start = Session(SETTINGS, RateControl(1.0, 0.0), 0.0)
    silent_start.connected(0.0)
    silent_start.tick(SETTINGS.start_timeout_s)
    assert silent_start.end
    assert silent_start.end.reason is EndReason.STALLED

    no_answer = Driver()
    for _ in range(59):
        no_answer.speak(1)
    assert no_answer.end_reason is None
    no_answer.speak(1.5)
    assert no_answer.end_reason is EndReason.STALLED

    silence = Driver()
    for _ in range(300):
        silence.speak(1, voiced=False)
    assert silence.end_reason is None

    stuck = Driver()
    stuck.session.sending(stuck.now)
    stuck.wait(61)
    assert stuck.end_reason is EndReason.STALLED


def test_speech_is_limited_ahead_of_the_service() -> None:
    d = Driver(speed=math.inf)
    while d.session.send_at(RATE, d.now) <= d.now:
        d.speak(1, wall=0.001)
    assert d.session.sent_samples == 24 * RATE  # six more may follow to keep it alive
    # If the service sends no messages, audio is sent at most at real time, but at least one frame every five seconds.
    assert d.session.send_at(RATE, d.now) <= d.now + 5.0
    d.hear(Unknown("anything"))
    assert d.session.send_at(RATE, d.now) == d.now


def test_silence_does_not_count_as_delay() -> None:
    d = Driver(speed=math.inf)
    for _ in range(600):
        assert d.session.send_at(RATE, d.now) == d.now
        d.speak(1, voiced=False, wall=0.001)


def test_an_old_session_may_end_at_a_pause() -> None:
    d = Driver()
    for _ in range(479):
        d.speak(1, voiced=False)
    assert not d.session.may_rotate(d.now)
    d.speak(1, voiced=False)
    assert d.session.may_rotate(d.now)
    d.hear(Partial("in the middle of"))
    assert not d.session.may_rotate(d.now)
    d.hear(timed("in the middle of it", 478, 479.9))
    assert d.session.may_rotate(d.now)
    d.session.input_ended(d.now, rotate=True)
    assert d.session.rotated


def test_audio_in_real_time_is_never_delayed() -> None:
    d = Driver(speed=1.0)
    for _ in range(50):
        assert d.session.send_at(RATE, d.now) == d.now
        d.speak(1)


def test_commits_without_their_word_times_are_left_to_the_next_session() -> None:
    d = Driver()
    d.speak(3)
    d.hear(timed("the first", 0, 1))
    d.hear(Committed("the second", timed=False))
    d.hear(timed("the third", 2, 3))
    d.session.disconnected(Lost("reset"), d.now)
    assert [c.text for c in d.session.take_commits()] == ["the first"]
    assert d.session.unpaired == ("the second", "the third")
    assert d.session.uncommitted_text == "the second the third"


events = st.lists(
    st.sampled_from(
        ["speak", "quiet", "partial", "timed", "plain", "closed", "error", "drop", "wait", "end", "unknown", "started"]
    ),
    max_size=40,
)


@given(events, st.sampled_from([1.0, math.inf]))
def test_any_order_of_events_ends_once_and_loses_no_commit(plan: list[str], speed: float) -> None:
    d, committed, said = Driver(speed), [], 0
    for step in plan:
        before = d.session.phase
        match step:
            case "speak" | "quiet":
                if d.session.phase is Phase.STREAMING:
                    d.speak(1, voiced=step == "speak", wall=0.5)
            case "partial":
                d.hear(Partial(f"words {said}"))
            case "timed" | "plain":
                said += d.session.phase is not Phase.ENDED
                message = timed(f"words {said}", said, said + 0.5)
                d.hear(message if step == "timed" else Committed(f"words {said}", timed=False))
            case "closed":
                d.hear(Closed(1000, ""))
            case "error":
                d.hear(ServiceError("rate_limited", ""))
            case "drop":
                d.session.disconnected(Lost("x"), d.now)
            case "wait":
                d.wait(2)
            case "end":
                d.finish_input()
            case "unknown":
                d.hear(Unknown("x"))
            case "started":
                d.hear(SessionStarted())
        committed += d.session.take_commits()
        assert not (before is Phase.ENDED and d.session.phase is not Phase.ENDED)
    d.session.disconnected(Lost("end of test"), d.now)
    committed += d.session.take_commits()
    assert d.session.end is not None
    texts = [c.text for c in committed] + list(d.session.unpaired)
    assert texts == [f"words {n + 1}" for n in range(said)]


def test_only_new_text_answers_speech() -> None:
    """A service that stopped transcribing may still send echoes, repetitions and empty texts."""
    d = Driver()
    d.speak(3)
    d.hear(Partial("he said"), timed("he said so", 0.2, 2.9))
    unanswered = d.session._flow
    assert unanswered.voiced_since_text == 0
    for message in (
        Partial("he said so"), Partial("he said"), Partial(""), Committed("", timed=False), Unknown("x"),
        timed("he said so", 0.2, 2.9), Committed(" he said so ", timed=False), Partial("he said so"),
    ):  # fmt: skip
        d.speak(1)
        d.hear(message)
    assert unanswered.voiced_since_message == 0
    assert unanswered.voiced_since_text == 8 * RATE
    d.hear(Partial("and left"))
    assert unanswered.voiced_since_text == 0


@pytest.mark.parametrize("code", [1000, 1005, 1006, 1011, None])
def test_a_service_may_answer_the_stop_with_any_code(code: int | None) -> None:
    d = Driver(commit_on_stop=True)
    d.speak(3)
    d.finish_input()
    d.hear(Closed(code, REASON_STOPPED))
    assert d.end_reason is EndReason.COMPLETED


@pytest.mark.parametrize("repeated", [False, True], ids=["last partial", "partial repeated after each commit"])
def test_a_partial_before_many_commits_stays_an_echo(repeated: bool) -> None:
    """A service under load sends few partials. The last one is in a commit and must not become text of its own."""
    d = Driver()
    d.speak(3)
    d.hear(Partial("w1 w2"))
    for number in range(12):
        d.hear(Committed(f"w{number} end", timed=False), *([Partial("w1 w2")] if repeated else []))
        assert d.session.pending_text == "", number
