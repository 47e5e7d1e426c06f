"""Committed messages in any order and number yield each segment of speech once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.realtime.commit_pairing import HOLD_S, MAX_HOLD_S, REPEAT_WITHIN_S, Commit, CommitPairer
from worker.realtime.messages import Committed, Partial, WireWord


def timed(text: str, at: float) -> Committed:
    words = tuple(WireWord(w, at + i * 0.3, at + i * 0.3 + 0.25, 0.9) for i, w in enumerate(text.split()))
    return Committed(text=text, timed=True, words=words)


def plain(text: str) -> Committed:
    return Committed(text=text, timed=False)


def run(events: list[tuple[float, Committed | Partial]]) -> list[Commit]:
    pairer, commits = CommitPairer(), []
    for now, message in events:
        commits += pairer.release(now)
        if isinstance(message, Partial):
            pairer.note_partial(message)
        else:
            commits += pairer.feed(message, now, sent=int(now * 16000))
    return commits + pairer.release(events[-1][0], everything=True)


A, B = "a gold ring", "will please most"
CASES = {
    "plain then timed": ([(1, plain(A)), (1.2, timed(A, 0))], [(A, True)]),
    "timed then plain": ([(1, timed(A, 0)), (1.9, plain(A))], [(A, True)]),
    "a second apart": ([(1, plain(A)), (2, timed(A, 0))], [(A, True)]),
    "twins far apart, read late": ([(1, plain(A)), (9, timed(A, 0)), (9, plain(B))], [(A, False), (B, False)]),
    "only plain": ([(1, plain(A)), (4, plain(B))], [(A, False), (B, False)]),
    "only timed": ([(1, timed(A, 0)), (4, timed(B, 3))], [(A, True), (B, True)]),
    "words null": ([(1, Committed(A, timed=True)), (1.1, plain(A))], [(A, False)]),
    "empty text": ([(1, plain("")), (1, Committed("  ", timed=True)), (2, timed(A, 0))], [(A, True)]),
    "triplicated timed": ([(1, timed(A, 0))] * 3, [(A, True)]),
    "triplicated pairs": ([(1, plain(A)), (1, timed(A, 0))] * 3, [(A, True)]),
    "triplicated plain, one timed": ([(1, plain(A)), (1, plain(A)), (1, plain(A)), (1.1, timed(A, 0))], [(A, True)]),
    "a third copy, after the next words have begun": (
        [(1, timed(A, 0)), (1, plain(A)), (1.4, Partial("will please")), (1.8, plain(A)), (3.2, timed(B, 3))],
        [(A, True), (B, True)],
    ),
    "triplicated plain": ([(1, plain(A)), (1.01, plain(A)), (1.02, plain(A))], [(A, False)]),
    "said three times, both forms": (
        [(t, form) for t in (1, 3, 5) for form in (plain(A), timed(A, t - 1))],
        [(A, True)] * 3,
    ),
    "said three times, at full speed": (
        [(1, plain(A)), (1, plain(A)), (1.02, timed(A, 0)), (1.03, timed(A, 2)), (1.04, timed(A, 4)), (1.05, plain(A))],
        [(A, True)] * 3,
    ),
    "said three times, plain": ([(1, plain(A)), (3, plain(A)), (5, plain(A))], [(A, False)] * 3),
    "said twice fast, with partials between": (
        [(1, plain(A)), (1.1, Partial("a gold")), (1.2, plain(A))],
        [(A, False)] * 2,
    ),
    "an echo is no speech": ([(1, plain(A)), (1.1, Partial(A)), (1.2, plain(A))], [(A, False)]),
    "order is kept": ([(1, plain(A)), (1.2, timed(B, 2)), (1.4, timed(A, 0)), (1.5, plain(B))], [(A, True), (B, True)]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_segment_of_speech_is_committed_once(name: str) -> None:
    events, expected = CASES[name]
    assert [(c.text, bool(c.words)) for c in run(events)] == expected


def test_a_plain_commit_waits_for_its_timed_form_up_to_the_maximum() -> None:
    pairer = CommitPairer()
    assert pairer.feed(plain(A), 10.0, 0) == []
    assert pairer.deadline == 10.0 + HOLD_S
    assert pairer.release(10.0 + HOLD_S - 0.01) == []
    assert [c.text for c in pairer.release(10.0 + HOLD_S)] == [A]
    assert pairer.deadline is None


def test_commits_of_a_service_without_word_times_do_not_wait() -> None:
    pairer = CommitPairer()
    for n in range(3):
        pairer.feed(plain(f"text {n}"), n * 5.0, 0)
        pairer.release(n * 5.0 + HOLD_S)
    assert [c.text for c in pairer.feed(plain("text 3"), 20.0, 0)] == ["text 3"]
    # If its word times arrive later, they must not create a second commit.
    assert pairer.feed(timed("text 3", 0), 20.5, 0) == []


@given(
    st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
    st.sampled_from(["both", "timed"]),
    st.integers(1, 3),
)
def test_any_mix_of_forms_yields_the_spoken_text(said: list[str], random, forms: str, copies: int) -> None:  # type: ignore[no-untyped-def]
    events: list[tuple[float, Committed | Partial]] = []
    for index, text in enumerate(said):
        spoken_at = index * 2.0
        messages: list[Committed] = [timed(text, spoken_at)] * copies
        if forms == "both":
            messages += [plain(text)] * random.randint(1, copies)
        random.shuffle(messages)
        events += [(spoken_at + 1 + random.random() * 0.9, m) for m in messages]
    events.sort(key=lambda e: e[0])
    commits = run(events)
    assert [c.text for c in commits] == said
    assert all(c.words for c in commits)


# -- late word times -----------------------------------------------------------------------------------------------


def drive(pairer: CommitPairer, events: list[tuple[float, Committed]]) -> list[Commit]:
    """Feeds events to the pairer at their times."""
    commits: list[Commit] = []
    for now, message in sorted(events, key=lambda e: e[0]):
        while pairer.deadline is not None and pairer.deadline <= now:
            commits += pairer.release(pairer.deadline)
        commits += pairer.feed(message, now, sent=int(now * 16000))
    while pairer.deadline is not None:
        commits += pairer.release(pairer.deadline)
    return commits


def both(lags: list[float], every_s: float = 3.0) -> list[tuple[float, Committed]]:
    events: list[tuple[float, Committed]] = []
    for n, lag in enumerate(lags):
        events += [(n * every_s, plain(f"text {n}")), (n * every_s + lag, timed(f"text {n}", n * every_s))]
    return events


LAGS = {
    "1.5 s": [1.5] * 12,
    "3.5 s": [3.5] * 12,
    "growing": [0.5 + 0.8 * n for n in range(12)],
    "jittering": [0.2, 3.0, 1.0, 3.9, 0.0, 5.0, 2.0, 3.0, 5.5, 1.0],
    "out of order": [3.9, 0.5, 3.5, 0.1, 3.9, 0.2],
}


@pytest.mark.parametrize("lags", LAGS.values(), ids=LAGS)
def test_commits_wait_for_late_word_times(lags: list[float]) -> None:
    commits = drive(CommitPairer(drop_repeats=False), both(lags))
    assert [c.text for c in commits] == [f"text {n}" for n in range(len(lags))]
    assert all(c.words for c in commits)


@pytest.mark.parametrize("lag", [5.0, 8.0, 10.0])
def test_a_long_delay_loses_the_first_word_times_only(lag: float) -> None:
    commits = drive(CommitPairer(drop_repeats=False), both([lag] * 20))
    assert [c.text for c in commits] == [f"text {n}" for n in range(20)]
    assert all(c.words for c in commits[6:])


@pytest.mark.parametrize("lag", [5.0, 8.0, 10.0])
def test_announced_word_times_are_awaited_from_the_start(lag: float) -> None:
    pairer = CommitPairer(drop_repeats=False)
    pairer.announced(timestamps=True)
    assert all(c.words for c in drive(pairer, both([lag] * 6)))


def test_the_wait_is_bounded_and_shrinks_again() -> None:
    pairer = CommitPairer(drop_repeats=False)
    for n in range(10):
        pairer.feed(plain(f"text {n}"), n * 100.0, 0)
        assert pairer.deadline is not None
        assert pairer.deadline <= n * 100.0 + MAX_HOLD_S
        pairer.feed(timed(f"text {n}", 0), n * 100.0 + 50.0, 0)
    assert pairer.hold_s == MAX_HOLD_S
    for n in range(10, 20):
        pairer.feed(plain(f"text {n}"), n * 100.0, 0)
        pairer.feed(timed(f"text {n}", 0), n * 100.0 + 0.1, 0)
    assert pairer.hold_s == HOLD_S


def test_the_silence_of_an_interrupted_service_does_not_count_as_waiting() -> None:
    """The service or this process was suspended between two messages."""
    pairer = CommitPairer(drop_repeats=False)
    drive(pairer, both([0.1] * 3))
    pairer.heard(10.0)
    assert pairer.feed(plain("late"), 10.0, 0) == []
    assert pairer.release(18.9) == []
    pairer.heard(19.0)
    assert pairer.release(19.0) == []  # the messages of the interruption arrive one after another
    pairer.heard(19.2)
    (commit,) = pairer.feed(timed("late", 9.0), 19.2, 0)
    assert commit.words


@pytest.mark.parametrize("every_s", [0.5, 1.0, None])
def test_a_timed_message_that_is_lost_is_awaited_while_others_arrive(every_s: float | None) -> None:
    pairer = CommitPairer(drop_repeats=False)
    drive(pairer, both([0.1] * 3))
    pairer.heard(10.0)
    pairer.feed(plain("alone"), 10.0, 0)
    now, released = 10.0, []
    while not released:
        now = min(pairer.deadline or now, now + (every_s or 60.0))
        if every_s:
            pairer.heard(now)
        released = pairer.release(now)
    assert now == 10.0 + (HOLD_S if every_s else MAX_HOLD_S)


FORMS = [
    ("So it goes.", "so it goes"),
    ("so it goes so it goes so it goes", "so it goes"),
    ("so it goes", "So it goes, so it goes."),
    ("我们明天再说", "我们 明天 再说。"),
]


@pytest.mark.parametrize(("one", "other"), FORMS)
@pytest.mark.parametrize("first", [plain, lambda text: timed(text, 0)], ids=["plain first", "timed first"])
def test_forms_that_differ_in_signs_or_copies_are_one_commit(one: str, other: str, first) -> None:  # type: ignore[no-untyped-def]
    is_plain = first is plain
    events = [(0.0, first(one)), (0.5, timed(other, 0) if is_plain else plain(other))]
    assert len(drive(CommitPairer(drop_repeats=False), events)) == 1


def test_repeated_messages_are_returned_with_the_start_of_the_next_commit() -> None:
    pairer = CommitPairer(drop_repeats=False)
    pairer.feed(plain(A), 1.0, 0)
    pairer.feed(timed(A, 0.2), 1.1, 0)
    assert pairer.feed(plain(A), 1.5, 0) == []  # nothing has word times yet that lie behind it
    assert pairer.feed(timed(B, 7.0), 3.0, 0) == []
    again, following = pairer.release(1.5 + HOLD_S)
    assert (again.text, again.before_s, following.text) == (A, 7.0, B)


def test_the_wait_of_a_repeated_message_is_bounded() -> None:
    pairer = CommitPairer(drop_repeats=False)
    pairer.feed(timed(A, 0.2), 1.0, 0)
    pairer.feed(plain(A), 1.0, 0)
    pairer.feed(plain(A), 2.0, 0)
    assert pairer.deadline is not None
    assert pairer.deadline <= 2.0 + max(HOLD_S, REPEAT_WITHIN_S)


@given(
    st.lists(st.floats(0, 3.9), min_size=1, max_size=12),
    st.lists(st.sampled_from(["both", "plain", "timed", "timed first"]), min_size=12, max_size=12),
)
def test_delays_and_missing_forms_neither_double_nor_lose_a_commit(lags: list[float], forms: list[str]) -> None:
    events: list[tuple[float, Committed]] = []
    for n, (lag, form) in enumerate(zip(lags, forms, strict=False)):
        first, second = plain(f"text {n}"), timed(f"text {n}", n * 2.0)
        if form == "timed first":
            first, second = second, first
        events += [(n * 2.0, second if form == "timed" else first)]
        events += [(n * 2.0 + lag, second)] if form.startswith(("both", "timed f")) else []
    commits = drive(CommitPairer(drop_repeats=False), events)
    assert [c.text for c in commits] == [f"text {n}" for n in range(len(lags))]
    assert all(c.words for c, form in zip(commits, forms, strict=False) if form.startswith("timed"))
