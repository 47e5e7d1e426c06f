"""Conversion of commits, with times in the session, to segments, with times in the file."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.audio.voice_activity import ForegroundRuns, PcmFrame, VoiceActivityMap
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.session_timeline import Timeline
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment
from worker.transcript.word_time_units import sent_word_range

RATE = 16000


def timeline(start_s: float = 0.0, length_s: float = 60.0) -> Timeline:
    line = Timeline(RATE)
    line.add_audio(int(start_s * RATE), int(length_s * RATE))
    return line


def commit(text: str, *times: tuple[float | None, float | None], sent_s: float = 60.0) -> Commit:
    words = tuple(WireWord(w, *t, 0.9) for w, t in zip(text.split(), times, strict=True)) if times else ()
    return Commit(text, words, None, int(sent_s * RATE))


def place(assembler: Assembler, line: Timeline, *commits: Commit) -> list[Segment]:
    return [s for c in commits if (s := assembler.place(c, line)) is not None]


def test_session_seconds_become_file_seconds() -> None:
    (segment,) = place(
        Assembler(VoiceActivityMap(RATE), paced=True), timeline(start_s=100), commit("good day", (1.0, 1.4), (1.5, 2.0))
    )
    assert (segment.start, segment.end) == (101.0, 102.0)
    assert [(w.text, w.start, w.end, w.confidence) for w in segment.words] == [
        ("good", 101.0, 101.4, 0.9),
        ("day", 101.5, 102.0, 0.9),
    ]
    assert segment.timing == "measured"


def test_times_after_the_audio_are_limited_to_its_end() -> None:
    (segment,) = place(
        Assembler(VoiceActivityMap(RATE), paced=True), timeline(length_s=2), commit("a b", (1.5, 1.9), (2.4, 9.0))
    )
    assert segment.end == 2.0
    assert all(w.start <= w.end <= 2.0 for w in segment.words)


def test_missing_times_are_filled_from_the_neighbours() -> None:
    (segment,) = place(
        Assembler(VoiceActivityMap(RATE), paced=True), timeline(), commit("a b c", (1.0, 1.2), (None, None), (2.0, 2.2))
    )
    assert [w.start for w in segment.words] == [1.0, 1.2, 2.0]


def test_commits_without_times_get_estimated_times_and_are_marked() -> None:
    first, second = place(
        Assembler(VoiceActivityMap(RATE), paced=True), timeline(), commit("one", sent_s=4.0), commit("two", sent_s=9.0)
    )
    assert (first.start, first.end, first.timing) == (0.0, 4.0, "estimated")
    assert (second.start, second.end, second.words) == (4.0, 9.0, ())


def test_words_that_a_resumed_session_repeats_are_dropped() -> None:
    assembler = Assembler(VoiceActivityMap(RATE), paced=True)
    place(assembler, timeline(), commit("so it goes", (1.0, 1.3), (1.5, 1.8), (2.0, 2.6)))
    assert assembler.until_s == 2.6
    assembler.begin(2.0)
    (segment,) = place(assembler, timeline(2.0), commit("goes, and on.", (0.05, 0.6), (0.9, 1.1), (1.2, 1.5)))
    assert segment.text == "and on."
    assert [w.text for w in segment.words] == ["and", "on."]
    assert segment.start == 2.9


def test_a_commit_that_only_repeats_gives_no_segment() -> None:
    assembler = Assembler(VoiceActivityMap(RATE), paced=True)
    place(assembler, timeline(), commit("so", (1.0, 1.6)))
    assembler.begin(1.0)
    assert place(assembler, timeline(1.0), commit("so", (0.0, 0.6))) == []


def test_a_real_repetition_after_a_resume_stays() -> None:
    assembler = Assembler(VoiceActivityMap(RATE), paced=True)
    place(assembler, timeline(), commit("no", (1.0, 1.3)))
    assembler.begin(0.7)
    again = place(
        assembler, timeline(0.7), commit("no", (0.3, 0.6)), commit("no", (2.0, 2.3)), commit("no", (4.0, 4.3))
    )
    assert [s.start for s in again] == [2.7, 4.7]


def voiced(*runs_s: tuple[float, float]) -> VoiceActivityMap:
    voice = VoiceActivityMap(RATE)
    voice.add(PcmFrame(b"", 0, tuple((int(a * RATE), int(b * RATE)) for a, b in runs_s)))
    return voice


def test_an_estimated_commit_gets_the_times_of_its_sound() -> None:
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5)), paced=True)
    first, second = place(assembler, timeline(), commit("one", sent_s=4.5), commit("two", sent_s=8.0))
    assert (first.start, first.end) == (1.0, 3.0)
    assert (second.start, second.end) == (5.0, 6.5)


def test_a_session_resumes_before_the_first_sound_that_is_not_committed() -> None:
    assembler = Assembler(voiced((1.0, 3.0), (50.0, 52.0)), paced=True)
    place(assembler, timeline(), commit("one", (1.0, 2.95)))
    assert assembler.resume_s(60.0) == 49.5
    place(assembler, timeline(), commit("two", (50.0, 52.0)))
    assert assembler.resume_s(60.0) == 59.5


def test_repeated_estimated_text_is_dropped_after_a_resume() -> None:
    # At full speed, the audio that a commit without times covers is unknown.
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5), (8.0, 9.0)), paced=False)
    place(assembler, timeline(), commit("One, two.", sent_s=30), commit("Three four", sent_s=30))
    assert assembler.resume_s(30.0) == 0.5
    assembler.begin(0.5)
    again = place(assembler, timeline(0.5), commit("one two three"), commit("four. Five!"), commit("one two"))
    assert [s.text for s in again] == ["Five!", "one two"]


def test_estimated_text_that_is_repeated_with_times_is_dropped() -> None:
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5), (8.0, 9.0)), paced=False)
    place(assembler, timeline(), commit("One two.", sent_s=30))
    assembler.begin(0.5)
    again = commit("one two three", (0.5, 1.0), (1.0, 1.5), (4.5, 5.0))
    (segment,) = place(assembler, timeline(0.5), again)
    assert [w.text for w in segment.words] == ["three"]
    assert segment.text == "three"


def test_a_late_commit_whose_word_times_were_lost_hides_no_later_sound() -> None:
    """A service that is 30 s late commits all sound before its text arrives: nothing shows where the text ends."""
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5), (8.0, 9.0)), paced=True)
    place(assembler, timeline(), commit("one", (1.0, 2.95)), commit("two three", sent_s=40))
    assert assembler.resume_s(40.0) == 4.5
    assembler.begin(4.5)
    again = place(
        assembler,
        timeline(4.5),
        commit("two three", (0.5, 1.0), (1.0, 2.0)),
        commit("four", (3.5, 4.5)),
    )
    assert [(s.text, s.start) for s in again] == [("four", 8.0)]


def test_a_session_that_ended_in_order_is_not_streamed_again() -> None:
    """The service has committed all of its text, also if the word times of the last commit were lost."""
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5), (15.0, 16.0)), paced=True)
    place(assembler, timeline(), commit("one", (1.0, 2.95)), commit("two three", sent_s=10))
    assembler.session_completed(0.0, 10.0)
    assert assembler.resume_s(10.0) == 10.0
    assembler.begin(10.0)
    (segment,) = place(assembler, timeline(10.0), commit("two three four", (5.0, 5.3), (5.3, 5.6), (5.6, 6.0)))
    assert segment.text == "two three four"


def test_a_session_without_any_text_that_ended_in_order_is_not_repeated_without_end() -> None:
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 400.0)), paced=True)
    place(assembler, timeline(), commit("one", (1.0, 2.95)))
    assembler.session_completed(0.0, 200.0)
    assert assembler.resume_s(200.0) == 4.5
    assembler.begin(4.5)
    assembler.session_completed(4.5, 204.5)
    assert assembler.resume_s(204.5) >= 204.0


@pytest.mark.parametrize("resumed", [False, True])
def test_a_service_that_stops_sending_word_times_is_not_late_for_ever(resumed: bool) -> None:
    voice = voiced(*((n * 10 + 1.0, n * 10 + 3.0) for n in range(40)))
    assembler = Assembler(voice, paced=True)
    spoken = place(
        assembler,
        timeline(length_s=400),
        commit("one", (1.0, 2.95)),
        *(commit(f"text number {n}", sent_s=n * 10 + 5) for n in range(1, 20)),
    )
    if resumed:  # by a second attempt at the job
        assembler = Assembler(voice, paced=True, committed=spoken)
    assert assembler.resume_s(196.0) > 190.0


def test_a_service_whose_sessions_repeat_text_without_word_times_makes_progress() -> None:
    assembler = Assembler(voiced(*((n * 10 + 1.0, n * 10 + 3.0) for n in range(40))), paced=True)
    place(assembler, timeline(length_s=400), commit("one", (1.0, 2.95)))
    texts = [commit(f"text number {n}", sent_s=n * 10 + 5) for n in range(1, 6)]
    place(assembler, timeline(length_s=400), *texts)
    assert assembler.resume_s(56.0) == 10.5
    assembler.begin(10.5)
    again = [commit(f"text number {n}", sent_s=n * 10 - 5.5) for n in range(1, 6)]
    assert place(assembler, timeline(10.5), *again) == []
    assert assembler.resume_s(56.0) > 50.0


def test_a_planned_end_hides_no_sound_that_only_an_earlier_session_sent() -> None:
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5), (8.0, 9.0), (30.0, 31.0)), paced=True)
    place(assembler, timeline(), commit("one", (1.0, 2.95)), commit("two", sent_s=40))
    assembler.begin(4.5)
    place(assembler, timeline(4.5, length_s=15.5), commit("two", (0.5, 1.9)), commit("four", (3.5, 4.5)))
    assembler.session_completed(4.5, 20.0)
    assert assembler.resume_s(40.0) == 29.5


def test_a_late_estimate_does_not_move_measured_words() -> None:
    """At full speed, a commit without word times is placed at the end of the sent audio, long after its words."""
    assembler = Assembler(voiced((1.0, 3.0), (5.0, 6.5), (8.0, 40.0)), paced=False)
    place(assembler, timeline(), commit("One two", sent_s=40))
    assert assembler.until_s == 40.0
    (segment,) = place(assembler, timeline(), commit("three four", (5.0, 5.5), (5.6, 6.4)))
    assert [(w.start, w.end) for w in segment.words] == [(5.0, 5.5), (5.6, 6.4)]
    # The next session resumes after these words, not at the end of the estimate.
    assert assembler.resume_s(40.0) == 7.5


def test_a_steady_drift_is_corrected() -> None:
    ends = [2.0 + 4 * k for k in range(12)]
    assembler = Assembler(voiced(*[(e - 1.5, e) for e in ends]), paced=True)
    commits = [
        commit("a b", (e - 1.5 + 0.1 * k, e - 1 + 0.1 * k), (e - 0.5 + 0.1 * k, e + 0.1 * k))
        for k, e in enumerate(ends)
    ]
    errors = [s.end - e for s, e in zip(place(assembler, timeline(), *commits), ends, strict=True)]
    assert max(errors) < 0.31
    assert max(abs(e) for e in errors[4:]) < 0.011


def test_inexact_word_ends_do_not_count_as_drift() -> None:
    ends = [2.0 + 4 * k for k in range(12)]
    assembler = Assembler(voiced(*[(e - 1.5, e) for e in ends]), paced=True)
    overhang = [0.1, 0.2, 0.05, 0.15, 0.25, 0.1, 0.0, 0.2, 0.1, 0.15, 0.2, 0.05]
    commits = [commit("a", (e - 1.5, e + o)) for e, o in zip(ends, overhang, strict=True)]
    starts = [s.start for s in place(assembler, timeline(), *commits)]
    assert starts == [e - 1.5 for e in ends]


def test_an_attempt_continues_after_the_segments_of_the_previous_one() -> None:
    assembler = Assembler(VoiceActivityMap(RATE), paced=True, committed=[Segment(text="a", start=1, end=5)])
    assert assembler.until_s == 5


@given(
    st.lists(st.lists(st.tuples(st.floats(-5, 90), st.floats(-5, 90)), min_size=1, max_size=5), min_size=1, max_size=6)
)
def test_any_times_become_monotone_and_stay_within_the_audio(plan: list[list[tuple[float, float]]]) -> None:
    assembler, line = Assembler(VoiceActivityMap(RATE), paced=True), timeline(start_s=10, length_s=60)
    segments = place(assembler, line, *[commit(" ".join("w" * len(times)), *times) for times in plan])
    assert len(segments) == len(plan)
    words = [w for s in segments for w in s.words]
    assert [w.start for w in words] == sorted(w.start for w in words)
    assert all(10 <= w.start <= w.end <= 70 for w in words)
    assert all(s.start <= s.end for s in segments)


class ExaminedVoice(VoiceActivityMap):
    """Voice activity of 20 minutes: sentences of three words, one every 4.5 s. Counts the examined seconds."""

    def __init__(self, silent_s: float = 0.0) -> None:
        super().__init__(RATE)
        self.examined_s = 0.0
        self.starts_s = [silent_s + n * 4.5 for n in range(267)]
        for start_s in self.starts_s:
            runs = tuple((int(a * RATE), int((a + 0.4) * RATE)) for a in (0.0, 0.6, 1.3))
            self.add(PcmFrame(b"", int(start_s * RATE), runs))

    def foreground_s(self, from_s: float, to_s: float) -> ForegroundRuns:
        self.examined_s += to_s - from_s
        return super().foreground_s(from_s, to_s)


@pytest.mark.parametrize("silent_s", [0.0, 900.0])
@pytest.mark.parametrize("form", ["exact", "late", "relative", "milliseconds", "none"])
def test_commits_after_much_audio_examine_only_the_audio_near_them(form: str, silent_s: float) -> None:
    # At full speed, all audio may be sent before the service commits the first words.
    voice = ExaminedVoice(silent_s)
    line = timeline(length_s=silent_s + 1200.0)
    assembler = Assembler(voice, paced=False)
    segments = []
    for number, start_s in enumerate(voice.starts_s):
        times = [(start_s + a, start_s + a + 0.4) for a in (0.0, 0.6, 1.3)]
        given: dict[str, list[tuple[float | None, float | None]]] = {
            "exact": [*times],
            "late": [(a + 0.3, b + 0.3) for a, b in times],
            "relative": [(a - start_s, b - start_s) for a, b in times],
            "milliseconds": [(a * 1000, b * 1000) for a, b in times],
            "none": [(None, None)] * 3,
        }
        text = " ".join(f"{letter}{number}" for letter in "abc")
        segments += place(assembler, line, commit(text, *given[form], sent_s=silent_s + 1200.0))
    assert len(segments) == len(voice.starts_s)
    # Without times, each commit can be anywhere after the silence, so each searches the first sound.
    searches = len(segments) if form == "none" else 2
    # Exact times are confirmed by the sound near the words.
    each_s = 12 if form == "exact" else 300
    assert voice.examined_s < len(segments) * each_s + searches * silent_s * 3
    if form != "none":
        starts = [segment.start for segment in segments]
        assert starts == pytest.approx(voice.starts_s, abs=0.05)


def hold_music_then_speech(form: str) -> list[Segment]:
    """Place the commits of five sentences, and after 150 s of sound without text, of 20 more. The sentences differ in
    their rhythm. All audio was sent before."""
    rng = random.Random(3)
    voice = VoiceActivityMap(RATE)
    sentences = []
    at = 1.0
    for number in range(25):
        if number == 5:
            for _ in range(30):
                voice.add(PcmFrame(b"", int(at * RATE), ((0, int(0.8 * RATE)),)))
                at += 5.0
        words = []
        for _ in range(4):
            length_s = rng.uniform(0.25, 0.6)
            words.append((at, at + length_s))
            voice.add(PcmFrame(b"", int(at * RATE), ((0, int(length_s * RATE)),)))
            at += length_s + rng.uniform(0.1, 0.3)
        sentences.append(words)
        at += 1.5
    line, assembler, found = timeline(length_s=3600.0), Assembler(voice, paced=False), []
    for number, words in enumerate(sentences):
        origin_s, unit = {"relative": (words[0][0], 1.0), "100 ns": (0.0, 1e7)}[form]
        given = [((a - origin_s) * unit, (b - origin_s) * unit) for a, b in words]
        text = " ".join(f"{letter}{number}" for letter in "abcd")
        untimed = form != "relative" and number < 15
        found += place(assembler, line, commit(text, *([(None, None)] * 4 if untimed else given), sent_s=3600.0))
    assert len(found) == len(sentences)
    measured = [(s, words) for s, words in zip(found, sentences, strict=True) if s.timing == "measured"]
    assert [s.start for s, _ in measured] == pytest.approx([words[0][0] for _, words in measured], abs=0.05)
    return found


@pytest.mark.parametrize(("form", "timed"), [("relative", 25), ("100 ns", 10)])
def test_words_in_other_units_and_from_other_origins_are_found_after_much_sound_without_text(
    form: str, timed: int
) -> None:
    assert [segment.timing for segment in hold_music_then_speech(form)].count("measured") == timed


@pytest.mark.parametrize("wrong", [(0.0, 0.0), (-3.0, -2.5), (None, None)], ids=["zero", "negative", "none"])
def test_one_wrong_time_in_each_commit_does_not_extend_the_examined_audio(
    wrong: tuple[float | None, float | None],
) -> None:
    voice = ExaminedVoice()
    line, assembler = timeline(length_s=1200.0), Assembler(voice, paced=False)
    for number, start_s in enumerate(voice.starts_s):
        times = [(start_s, start_s + 0.4), (start_s + 0.6, start_s + 1.0), wrong]
        place(assembler, line, commit(f"a{number} b{number} c{number}", *times, sent_s=1200.0))
    assert voice.examined_s < len(voice.starts_s) * 200


@pytest.mark.parametrize(
    ("times", "found"),
    [
        ([(5.0, 5.4), (5.6, 6.0)], (5.0, 6.0)),
        ([(5000.0, 5400.0), (5600.0, 6000.0)], (50.0, 60.0)),  # hundredths or thousandths of a second
        ([(5e7, 5.4e7), (5.6e7, 6e7)], (50.0, 60.0)),  # units of a microsecond or of 100 ns
        ([(5.4, 5.0), (6.0, 5.6)], (5.0, 6.0)),
        ([(5.0, None), (5.6, None)], (5.0, 5.6)),
        ([(5.0, 5.0), (5.6, 5.6)], (5.0, 5.6)),
        ([(0.0, 0.0), (5.0, 5.4), (5.6, 6.0)], (5.0, 6.0)),
        ([(-9.0, -8.0), (5.0, 5.4), (5.6, 6.0)], (5.0, 6.0)),
        ([(5.0, 5.4), (5.6, 6.0), (900.0, 900.4)], (5.0, 6.0)),
        ([(999.8, 1000.4)], (999.8, 1000.0)),
        ([(200.0, 206.5)], (200.0, 206.5)),  # a sentence as one word
        ([(0.0, 0.4), (200.0, None), (201.0, None)], (200.0, 201.0)),
        ([(None, None)], (0.0, 0.0)),
        ([], (0.0, 0.0)),
    ],
)
def test_the_range_of_the_words_as_the_service_sent_them(
    times: list[tuple[float | None, float | None]], found: tuple[float, float]
) -> None:
    words = [WireWord("a", start, end, None) for start, end in times]
    assert sent_word_range(words, 1000.0) == pytest.approx(found)


def test_a_sentence_as_one_word_is_kept_when_it_is_said_again_after_a_silence() -> None:
    voice = VoiceActivityMap(RATE)
    for start_s, end_s in ((0.5, 7.0), (10.0, 10.5), (200.0, 206.5)):
        voice.add(PcmFrame(b"", int(start_s * RATE), ((0, int((end_s - start_s) * RATE)),)))
    assembler, line = Assembler(voice, paced=False), timeline(length_s=3600.0)
    said = [
        Commit("hello there", (WireWord("hello there", *at, 0.9),), None, 3600 * RATE)
        for at in ((0.5, 7.0), (200.0, 206.5))
    ]
    assert [s.start for s in place(assembler, line, *said)] == [0.5, 200.0]


def test_the_rest_of_the_previous_word_does_not_hide_the_sound_after_a_silence() -> None:
    """The last word of the first commit ends 0.4 s before its sound."""
    voice = VoiceActivityMap(RATE)
    for start_s, end_s in ((5.0, 5.5), (5.7, 6.2), (6.4, 7.2), (120.0, 120.5), (120.7, 121.2), (121.4, 121.8)):
        voice.add(PcmFrame(b"", int(start_s * RATE), ((0, int((end_s - start_s) * RATE)),)))
    relative = commit("d e f", (0.0, 0.5), (0.7, 1.2), (1.4, 1.8), sent_s=3600.0)
    found = place(Assembler(voice, paced=False), timeline(length_s=3600.0), relative, relative)
    assert [segment.start for segment in found] == [5.0, 120.0]
