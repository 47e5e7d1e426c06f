"""Correction of word times: drift, other forms, and impossible times, which become estimates."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.transcript.test_assemble import RATE, timeline, voiced
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment

Times = list[tuple[float, float]]
TOLERANCE_S = 0.03


def sentences(seed: int = 1, count: int = 8, start_s: float = 0.6) -> list[Times]:
    """Words of uneven length with silence between them."""
    rng, at, plan = Random(seed), start_s, []
    for _ in range(count):
        words = []
        for _ in range(rng.randint(2, 6)):
            length = rng.uniform(0.15, 0.45)
            words.append((at, at + length))
            at += length + rng.uniform(0.08, 0.2)
        plan.append(words)
        at += rng.uniform(0.9, 1.8)
    return plan


def commit(number: int, times: Times, sent_s: float) -> Commit:
    words = tuple(WireWord(f"w{number}x{i}", start, end, 0.9) for i, (start, end) in enumerate(times))
    return Commit(" ".join(w.text for w in words), words, None, int(sent_s * RATE))


def place(plan: list[Times], given_times: list[Times], *, paced: bool = True) -> list[Segment]:
    assembler = Assembler(voiced(*[word for words in plan for word in words]), paced=paced)
    line = timeline(length_s=90)
    ahead_s = 1.4 if paced else 90.0
    segments = [
        assembler.place(commit(n, t, min(90.0, plan[n][-1][1] + ahead_s)), line) for n, t in enumerate(given_times)
    ]
    return [s for s in segments if s is not None]


def errors_s(plan: list[Times], segments: list[Segment]) -> list[float]:
    """Maximum time error of the words of each commit in seconds; infinite without words."""
    errors = []
    for words, segment in zip(plan, segments, strict=True):
        starts = [w.start for w in segment.words]
        off = [abs(s - w[0]) for s, w in zip(starts, words, strict=True)] if starts else [float("inf")]
        errors.append(max(off))
    return errors


def late(times: Times, seconds: float) -> Times:
    return [(start + seconds, end + seconds) for start, end in times]


@pytest.mark.parametrize("step_s", [0.1, 0.03, 0.25, -0.1, -0.03, -0.25, 0.06])
@pytest.mark.parametrize("paced", [True, False], ids=["1x", "max"])
def test_a_drift_is_corrected_from_the_first_commit(step_s: float, paced: bool) -> None:
    plan = sentences(count=20)
    segments = place(plan, [late(t, step_s * n) for n, t in enumerate(plan)], paced=paced)
    assert max(errors_s(plan, segments)) <= TOLERANCE_S
    assert all(s.timing == "measured" for s in segments)


@pytest.mark.parametrize("offset_s", [0.1, 0.3, -0.1, -0.3, 0.05])
@pytest.mark.parametrize("step_s", [0.0, 0.1])
def test_a_constant_offset_is_corrected(offset_s: float, step_s: float) -> None:
    plan = sentences(seed=3)
    segments = place(plan, [late(t, offset_s + step_s * n) for n, t in enumerate(plan)])
    assert max(errors_s(plan, segments)) <= TOLERANCE_S


@pytest.mark.parametrize("step_s", [0.1, -0.1])
def test_a_drift_is_found_even_if_sound_continues_around_the_words(step_s: float) -> None:
    """With breath and echo, no edge of a word is an edge of the sound."""
    plan = sentences(seed=15, count=20)
    runs = [(words[0][0] - 0.07, words[-1][1] + 0.09) for words in plan]
    assembler, line = Assembler(voiced(*runs), paced=True), timeline(length_s=120)
    given_times = [late(words, step_s * n) for n, words in enumerate(plan)]
    placed = [assembler.place(commit(n, t, plan[n][-1][1] + 1.4), line) for n, t in enumerate(given_times)]
    assert max(errors_s(plan, [s for s in placed if s])[6:]) <= 0.1


def test_each_session_has_its_own_drift() -> None:
    plan = sentences(seed=5, count=12)
    voice = voiced(*[word for words in plan for word in words])
    assembler = Assembler(voice, paced=True)
    line, base_s, segments = timeline(), 0.0, []
    for n, words in enumerate(plan):
        if n == 6:
            base_s = plan[5][-1][1] + 0.5
            assembler.begin(base_s)
            line = timeline(start_s=base_s)
        segments.append(
            assembler.place(commit(n, late(words, 0.1 * (n % 6) - base_s), words[-1][1] + 1.4 - base_s), line)
        )
    assert max(errors_s(plan, [s for s in segments if s])) <= TOLERANCE_S


@given(st.integers(0, 10_000), st.sampled_from([True, False]))
def test_exact_times_are_unchanged_to_the_millisecond(seed: int, paced: bool) -> None:
    plan = sentences(seed, count=6)
    assert max(errors_s(plan, place(plan, plan, paced=paced))) <= 0.0011


@given(st.integers(0, 10_000), st.floats(0.02, 0.12))
# Two short words that matched the next phrase better, and errors of three commits in a row that looked like a drift.
@example(329, 0.12)
@example(1363, 0.09)
@example(768, 0.12)
@example(4857, 0.12)
def test_inexact_times_do_not_get_worse(seed: int, jitter_s: float) -> None:
    """Words close together in one run of sound, with an independent error of every edge."""
    rng, plan, inexact = Random(seed), sentences(seed, count=8), []
    runs = [(words[0][0], words[-1][1]) for words in plan]
    for words in plan:
        edges = [edge + rng.uniform(-jitter_s, jitter_s) for word in words for edge in word]
        inexact.append(list(zip(edges[::2], edges[1::2], strict=True)))
    assembler, line = Assembler(voiced(*runs), paced=True), timeline(length_s=90)
    segments = [assembler.place(commit(n, t, plan[n][-1][1] + 1.4), line) for n, t in enumerate(inexact)]
    assert max(errors_s(plan, [s for s in segments if s])) <= 2 * jitter_s + TOLERANCE_S


def test_noise_without_pauses_does_not_change_times() -> None:
    plan = sentences(seed=2)
    assembler, line = Assembler(voiced((0.0, 90.0)), paced=True), timeline(length_s=90)
    segments = [assembler.place(commit(n, t, t[-1][1] + 1.4), line) for n, t in enumerate(plan)]
    assert max(errors_s(plan, [s for s in segments if s])) <= 0.0011


def scaled(factor: float) -> Callable[[Times], Times]:
    return lambda times: [(start * factor, end * factor) for start, end in times]


def relative(times: Times) -> Times:
    return late(times, -times[0][0])


def relative_after_lead(times: Times) -> Times:
    return late(times, 0.3 - times[0][0])


FORMS: dict[str, Callable[[Times], Times]] = {
    "milliseconds": scaled(1e3),
    "microseconds": scaled(1e6),
    "nanoseconds": scaled(1e9),
    "100 ns ticks": scaled(1e7),
    "relative": relative,
    "relative, after a lead": relative_after_lead,
    "relative, in milliseconds": lambda times: scaled(1e3)(relative(times)),
    "time of day": lambda times: late(times, 1.7e9),
    "negative": lambda times: late(times, -1000.0),
    "start and end exchanged": lambda times: [(end, start) for start, end in times],
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("paced", [True, False], ids=["1x", "max"])
@pytest.mark.parametrize("since", [0, 3])
@pytest.mark.gate_sample(2)
def test_other_forms_of_times_are_corrected(form: Callable[[Times], Times], paced: bool, since: int) -> None:
    plan = sentences(seed=7)
    segments = place(plan, [form(t) if n >= since else t for n, t in enumerate(plan)], paced=paced)
    assert max(errors_s(plan, segments)) <= TOLERANCE_S
    assert all(s.timing == "measured" for s in segments)


@pytest.mark.parametrize("paced", [True, False], ids=["1x", "max"])
def test_a_form_that_changes_with_each_commit_is_corrected(paced: bool) -> None:
    plan, forms = sentences(seed=9, count=14), [lambda t: t, *FORMS.values()]
    segments = place(plan, [forms[n % len(forms)](t) for n, t in enumerate(plan)], paced=paced)
    assert max(errors_s(plan, segments)) <= TOLERANCE_S


IMPOSSIBLE: dict[str, Callable[[Times], Times]] = {
    "all zero": lambda times: [(0.0, 0.0) for _ in times],
    "all the same": lambda times: [(5.0, 5.0) for _ in times],
    "falling": lambda times: [(1000.0 - s, 1000.0 - s) for s, _ in times],
    "stretched beyond the audio": lambda times: [(s * 40, e * 40) for s, e in times],
    "huge": lambda times: [(1e300, 1e301) for _ in times],
}


@pytest.mark.parametrize("form", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_times_are_replaced_by_estimates(form: Callable[[Times], Times]) -> None:
    plan = [words for words in sentences(seed=11, count=12) if len(words) > 2]
    segments = place(plan, [form(t) for t in plan])
    assert [s.timing for s in segments] == ["estimated"] * len(plan)
    # The estimated times of a segment extend over the sound that follows the previous segment, which is exactly the
    # sound of its own words.
    for words, segment in zip(plan, segments, strict=True):
        assert (segment.start, segment.end) == pytest.approx((words[0][0], words[-1][1]), abs=0.002)


@pytest.mark.parametrize("fault", [(None, None), (-3.0, -2.0), (9e9, 9e9), (0.0, 0.0)])
@pytest.mark.parametrize("place_of_fault", [0, 1, -1])
def test_one_impossible_word_does_not_affect_the_times_of_others(
    fault: tuple[float, float], place_of_fault: int
) -> None:
    plan = [words for words in sentences(seed=13, count=12) if len(words) > 3]
    broken = [list(words) for words in plan]
    for words in broken:
        words[place_of_fault] = fault
    segments = place(plan, broken)
    assert all(s.timing == "measured" for s in segments)
    for words, segment in zip(plan, segments, strict=True):
        faulty = range(len(words))[place_of_fault]
        off = [abs(w.start - t[0]) for i, (w, t) in enumerate(zip(segment.words, words, strict=True)) if i != faulty]
        assert max(off) <= TOLERANCE_S
        assert all(one.start <= other.start for one, other in pairwise(segment.words))


@pytest.mark.parametrize("words", [12, 26, 40])
@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("paced", [True, False], ids=["1x", "max"])
def test_a_long_commit_relative_to_its_segment_keeps_its_first_words(paced: bool, before: int, words: int) -> None:
    """Most of its times happen to be within its audio. The others, which are before it, are no wrong times."""
    plan = sentences(seed=5, count=before)
    at_s, long, rng = plan[-1][-1][1] + 1.6, [], Random(words)
    for _ in range(words):
        long.append((at_s, at_s + rng.uniform(0.15, 0.45)))
        at_s = long[-1][1] + rng.uniform(0.08, 0.2)
    plan.append(long)
    begins_s = [0.0, *(one[-1][1] + 1.5 for one in plan)]
    segments = place(plan, [late(one, -s) for one, s in zip(plan, begins_s, strict=False)], paced=paced)
    assert max(errors_s(plan, segments)) <= TOLERANCE_S
    assert all(s.timing == "measured" for s in segments)
