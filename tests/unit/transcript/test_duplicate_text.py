"""Removal of repeated text: repetitions of the speaker stay, repetitions of the service are dropped."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.transcript.test_assemble import RATE, timeline, voiced
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.realtime.text_match import copies, effort, first_copies, letters, same_once
from worker.transcript.assemble import Assembler
from worker.transcript.echoed_words import echoes
from worker.transcript.model import Segment

WORD_S, STEP_S = 0.25, 0.4
Said = list[tuple[str, float]]  # (text of a sentence, position in the file in seconds)


def words_of(text: str, at: float) -> tuple[WireWord, ...]:
    return tuple(
        WireWord(w, at + i * STEP_S, at + i * STEP_S + WORD_S, 0.9) for i, w in enumerate(text.split())
    )  # fmt: skip


def runs_of(said: Said) -> list[tuple[float, float]]:
    return [(w.start or 0, w.end or 0) for text, at in said for w in words_of(text, at)]


def commit(text: str, words: tuple[WireWord, ...] = (), sent_s: float = 60.0) -> Commit:
    return Commit(text, words, None, int(sent_s * RATE))


def placed(said: Said, commits: list[Commit], *, paced: bool = True) -> list[Segment]:
    assembler, line = Assembler(voiced(*runs_of(said)), paced=paced), timeline()
    return [s for c in commits if (s := assembler.place(c, line)) is not None]


def texts(segments: list[Segment]) -> list[str]:
    return [letters(s.text) for s in segments]


VARIANTS = {
    "two": "So it goes. So it goes.",
    "three, other punctuation": "So it goes, so it goes! So it goes",
    "no spaces between": "so it goesso it goesso it goes",
    "five": " ".join(["so it goes"] * 5),
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_copies_inside_a_commit_with_the_same_times_are_dropped(text: str) -> None:
    said = [("so it goes", 1.0), ("and on", 5.0)]
    words = words_of("so it goes", 1.0) * copies(text)
    first, second = placed(said, [commit(text, words, 4.0), commit("and on", words_of("and on", 5.0), 8.0)])
    assert letters(first.text) == "soitgoes"
    assert [w.text for w in first.words] == ["so", "it", "goes"]
    assert (first.start, first.end) == (1.0, pytest.approx(2.05))
    assert second.text == "and on"


def test_copies_with_times_in_silence_are_dropped() -> None:
    words = tuple(w for at in (1.0, 2.2, 3.4) for w in words_of("so it goes", at))
    (segment,) = placed([("so it goes", 1.0)], [commit("so it goes " * 3, words, 6.0)])
    assert (segment.text, len(segment.words), segment.end) == ("so it goes", 3, pytest.approx(2.05))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_sentence_said_several_times_in_one_commit_stays(count: int) -> None:
    said = [("so it goes", 1.0 + 1.2 * n) for n in range(count)]
    words = tuple(w for text, at in said for w in words_of(text, at))
    (segment,) = placed(said, [commit(" ".join(["so it goes"] * count), words)])
    assert len(segment.words) == 3 * count
    assert segment.timing == "measured"


def test_spoken_repetitions_stay_even_if_the_service_gives_all_copies_the_same_times() -> None:
    said = [("no", 1.0), ("no", 1.4), ("no", 1.8)]
    (segment,) = placed(said, [commit("No, no, no.", words_of("no", 1.0) * 3, 4.0)])
    assert segment.text == "No, no, no."
    assert segment.timing == "estimated"


def test_copies_without_times_are_dropped_if_they_are_faster_than_any_speech() -> None:
    said = [("a gold ring will please most any girl", 1.0)]
    (segment,) = placed(said, [commit("a gold ring will please most any girl. " * 4, sent_s=8.0)])
    assert letters(segment.text) == letters("a gold ring will please most any girl")


def test_repetitions_without_times_stay_if_there_is_sound_for_them() -> None:
    said = [("a gold ring", 1.0), ("a gold ring", 2.2), ("a gold ring", 3.4)]
    (segment,) = placed(said, [commit("a gold ring " * 3, sent_s=8.0)])
    assert copies(segment.text) == 3


CHINESE = "我们明天再说吧"


@pytest.mark.parametrize("spoken_times", [1, 3])
def test_repeated_chinese_text_without_spaces_is_recognized(spoken_times: int) -> None:
    said = [(" ".join(CHINESE), 1.0 + 3.0 * n) for n in range(spoken_times)]
    words = tuple(w for n in range(3) for w in words_of(" ".join(CHINESE), 1.0 + 3.0 * min(n, spoken_times - 1)))
    (segment,) = placed(said, [commit(CHINESE + "，" + CHINESE + "。" + CHINESE, words, 14.0)])
    assert copies(segment.text) == spoken_times
    assert len(segment.words) == len(CHINESE) * spoken_times


PHANTOMS = {
    "timed, in the silence": commit("it goes", words_of("it goes", 2.4), 3.8),
    "timed, at the old times": commit("it goes", words_of("it goes", 1.4), 3.8),
    "plain": commit("It goes!", sent_s=3.8),
    "plain, one word": commit("goes", sent_s=3.8),
    "part of a word": commit("oes", sent_s=3.8),
}


@pytest.mark.parametrize("phantom", PHANTOMS.values(), ids=PHANTOMS)
@pytest.mark.parametrize("count", [1, 3])
def test_phantoms_without_sound_are_dropped(phantom: Commit, count: int) -> None:
    said = [("so it goes", 1.0), ("it goes", 6.0)]
    before = commit("so it goes", words_of("so it goes", 1.0), 3.6)
    after = commit("it goes", words_of("it goes", 6.0), 9.0)
    assert texts(placed(said, [before, *[phantom] * count, after])) == ["soitgoes", "itgoes"]


@pytest.mark.parametrize("again", [True, False])
def test_a_phantom_does_not_use_the_sound_of_commits_without_times(again: bool) -> None:
    """If audio is sent faster than real time, earlier sound may belong to any commit without times."""
    first, text, last = "so it goes on", "absolute patience certainly", "patience certainly"
    said = [(first, 1.0), (text, 4.0), *([(last, 7.0)] if again else [])]
    commits = [commit(first, words_of(first, 1.0), 3.0), commit(text, sent_s=9.0), commit(last, sent_s=9.0)]
    assert [s.text for s in placed(said, commits, paced=False)] == [first, text, *([last] if again else [])]


@pytest.mark.parametrize("timed", [True, False])
def test_spoken_repetitions_of_the_last_words_stay(timed: bool) -> None:
    said = [("so it goes", 1.0), ("it goes", 4.0), ("it goes", 7.0)]
    commits = [commit(text, words_of(text, at) if timed else (), at + 2.6) for text, at in said]
    assert texts(placed(said, commits)) == ["soitgoes", "itgoes", "itgoes"]


@pytest.mark.parametrize("late_s", [-0.4, -0.25, 0.3, 0.45, 0.6])
@pytest.mark.parametrize("paced", [True, False])
def test_a_repeated_word_stays_if_its_times_are_next_to_its_sound(late_s: float, paced: bool) -> None:
    """The breath around the words is also sound, so no shift of the times matches the sound."""
    said = [("so it goes", 1.0), ("so", 4.0), ("and on", 7.0)]
    runs = [(1.0, 2.4), (3.93, 4.31), (6.9, 8.0)]
    commits = [commit(text, words_of(text, at + late_s * (text == "so")), at + 2.0) for text, at in said]
    assembler, line = Assembler(voiced(*runs), paced=paced), timeline()
    assert len([s for c in commits if (s := assembler.place(c, line))]) == 3


def test_repeated_text_stays_if_no_voice_activity_was_detected() -> None:
    commits = [commit("no", words_of("no", at), at + 2) for at in (1.0, 4.0)]
    assert texts(placed([], commits)) == ["no", "no"]


sentences = st.lists(
    st.sampled_from(["no", "so it goes", "it goes", "no no no", "ring a ring"]), min_size=1, max_size=7
)


@given(
    sentences, st.lists(st.integers(1, 4), min_size=7, max_size=7), st.lists(st.integers(0, 3), min_size=7, max_size=7)
)
def test_every_sentence_is_in_the_transcript_as_often_as_it_was_said(
    said: list[str], number: list[int], ghosts: list[int]
) -> None:
    """The service repeats texts inside commits and after them, and the speakers also repeat themselves."""
    plan = [(text, 1.0 + 5.0 * n) for n, text in enumerate(said)]
    commits = []
    for (text, at), count, phantoms in zip(plan, number, ghosts, strict=False):
        words = words_of(text, at)
        commits.append(commit(" ".join([text] * count), words * count, at + 3.2))
        last = text.split()[-1]
        commits += [
            commit(last, words_of(last, (words[-1].end or 0) + 0.4 * (n + 1)), at + 3.6) for n in range(phantoms)
        ]
    segments = placed(plan, commits)
    assert [s.text for s in segments] == said
    assert [w.start for s in segments for w in s.words] == pytest.approx([s for s, _ in runs_of(plan)])


@given(st.text(alphabet="ab ,说", min_size=1, max_size=12), st.integers(1, 4))
def test_counting_copies_preserves_the_letters(text: str, count: int) -> None:
    repeated = text * count
    assert letters(first_copies(repeated, copies(repeated))) == letters(repeated)
    assert copies(repeated) % count == 0 or not letters(text)
    assert same_once(text, repeated) == bool(letters(text))
    assert effort(text) >= 0


def characters(text: str, at: float, kind: str) -> tuple[WireWord, ...]:
    """One word per character, 0.2 s each from `at` on. Equal neighbours share the time of both by `kind`."""
    words: list[WireWord] = []
    for index, character in enumerate(text):
        start, end = at + index * 0.2, at + index * 0.2 + 0.2
        if kind != "even" and index + 1 < len(text) and text[index + 1] == character:
            end = {"shared": start + 0.4, "zero": start, "near": start + 0.04}[kind]
        elif kind != "even" and index and text[index - 1] == character:
            start = {"shared": start - 0.2, "zero": start - 0.2, "near": start - 0.16}[kind]
        words.append(WireWord(character, start, end, 0.9))
    return tuple(words)


@pytest.mark.parametrize("kind", ["even", "shared", "zero", "near"])
@pytest.mark.parametrize("text", ["我哋行行媽媽快啲謝謝你呀", "開開心心去街", "謝謝", "好好", "佢成日笑笑口", "食飽飽"])
def test_characters_said_twice_stay_if_they_share_their_times(text: str, kind: str) -> None:
    """Services give both characters the time of one token, or the first one no duration, or a few milliseconds."""
    assembler, line = Assembler(voiced((1.0, 1.0 + 0.2 * len(text))), paced=True), timeline()
    segment = assembler.place(commit(text, characters(text, 1.0, kind), 4.0), line)
    assert segment is not None
    assert segment.text == text
    assert "".join(word.text for word in segment.words) == text


@pytest.mark.parametrize("character", ["好", "I "])
def test_a_single_character_with_a_time_in_silence_is_dropped(character: str) -> None:
    words = tuple(WireWord(character.strip(), at, at + 0.3, 0.9) for at in (1.0, 2.5))
    assembler, line = Assembler(voiced((1.0, 1.3)), paced=True), timeline()
    segment = assembler.place(commit((character * 2).strip(), words, 4.0), line)
    assert segment is not None
    assert segment.text == character.strip()


@pytest.mark.parametrize("times", [1, 3])
def test_a_single_character_is_dropped_if_its_sound_is_too_short_for_all_copies(times: int) -> None:
    assembler, line = Assembler(voiced((1.0, 1.0 + 0.2 * times)), paced=True), timeline()
    segment = assembler.place(commit("係係係", (WireWord("係", 1.0, 1.2, 0.9),) * 3, 4.0), line)
    assert segment is not None
    assert segment.text == "係" * times


@pytest.mark.parametrize("text", ["hello", "bookkeeper", "too well"])
def test_double_letters_stay_if_each_letter_is_a_word(text: str) -> None:
    said = "".join(text.split())
    words = tuple(WireWord(c, 1.0 + i * 0.03, 1.03 + i * 0.03, 0.9) for i, c in enumerate(said))
    assembler, line = Assembler(voiced((1.0, 1.0 + 0.03 * len(said))), paced=True), timeline()
    segment = assembler.place(commit(text, words, 4.0), line)
    assert segment is not None
    assert segment.text == text


@pytest.mark.parametrize("size", [1, 2, 3])
def test_words_at_the_times_of_earlier_words_are_dropped_from_a_longer_commit(size: int) -> None:
    said = [("so it goes on and on today", 1.0)]
    words = words_of(*said[0])
    listed = words[: 1 + size] + words[1:]
    (segment,) = placed(said, [commit(" ".join(w.text for w in listed), listed, 6.0)])
    assert segment.text == "so it goes on and on today"


def test_a_commit_of_thousands_of_equal_words_is_read_quickly() -> None:
    """A hostile service must not hold up the other sessions of the process. Comparing each pair of
    words took six seconds."""
    words = tuple(WireWord("a", 1.0 + n % 7 * 0.01, 1.2 + n % 7 * 0.01, 0.9) for n in range(5000))
    began = time.process_time()
    echoes(words)
    assert time.process_time() - began < 1.0
