"""Sessions that are lost while a service without word times sends its text late: every word once.

When a text arrives, speech of the next text may have been sent already, and nothing shows where the text ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.transcript.test_assemble import RATE, commit, place, timeline, voiced
from worker.audio.voice_activity import PcmFrame, VoiceActivityMap
from worker.realtime.commit_pairing import Commit
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment
from worker.transcript.resume_overlap import OverlapFilter

Words = list[tuple[str, float, float]]
PAUSE_S = 1.5


def speech(seed: int, end_s: float, pauses_s: tuple[float, float], alphabet: str = "") -> Words:
    """Sentences of 2 to 8 different words: (text, start, end), in seconds."""
    rng, at, words = Random(seed), 0.5, Words()
    while at < end_s:
        for _ in range(rng.randint(2, 8)):
            number = f"{len(words):03d}"
            text = "".join(alphabet[int(c) + 10 * i] for i, c in enumerate(number)) if alphabet else f"word{number}"
            words.append((text, at, at + rng.uniform(0.2, 0.4)))
            at = words[-1][2] + rng.uniform(0.05, 0.2)
        at += rng.uniform(*pauses_s)
    return words


@dataclass(frozen=True)
class PlainService:
    """A service that commits text without word times: after a pause, or when a text is `longest_s` seconds long. Each
    text arrives `delay_s` seconds late."""

    words: Words
    delay_s: float
    longest_s: float

    def session(self, from_s: float, until_s: float) -> list[Commit]:
        """Return the commits of a session that is lost at `until_s`. It does not recognize a word that is cut."""
        commits, texts, begin_s = list[Commit](), list[str](), 0.0
        for index, (text, start_s, end_s) in enumerate(self.words):
            if start_s < from_s:
                continue
            begin_s = begin_s if texts else start_s
            texts.append(text)
            pause_s = self.words[index + 1][1] - end_s if index + 1 < len(self.words) else PAUSE_S
            if pause_s >= PAUSE_S or end_s - begin_s >= self.longest_s:
                at_s = end_s + self.delay_s + (PAUSE_S if pause_s >= PAUSE_S else 0.0)
                if at_s <= until_s:
                    commits.append(commit(" ".join(texts), sent_s=at_s - from_s))
                texts = []
        return commits


def words_of(segments: Sequence[Segment]) -> list[str]:
    return " ".join(segment.text for segment in segments).split()


def transcribe(service: PlainService, breaks_s: Sequence[float], *, new_worker: bool = False) -> list[str]:
    """Transcribe in sessions that are lost at these positions. `new_worker`: another attempt at the job continues."""
    runs = [(start_s, end_s) for _, start_s, end_s in service.words]
    assembler, segments, sent_s = Assembler(voiced(*runs), paced=True), list[Segment](), 0.0
    for until_s in [*breaks_s, runs[-1][1] + 10.0]:
        if new_worker and sent_s:
            voice = VoiceActivityMap(RATE)
            assembler, sent_s = Assembler(voice, paced=True, committed=segments), 0.0
            from_s = assembler.resume_s(sent_s)
            rest = tuple((int(max(a, from_s) * RATE), int(b * RATE)) for a, b in runs if b > from_s)
            voice.add(PcmFrame(b"", 0, rest))
        else:
            from_s = assembler.resume_s(sent_s)
        assembler.begin(from_s)
        segments += place(assembler, timeline(from_s, until_s - from_s), *service.session(from_s, until_s))
        sent_s = until_s
    return words_of(segments)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    delay_s=st.floats(0.0, 4.0),
    longest_s=st.sampled_from([6.0, 12.0, 36.0]),
    pauses_s=st.sampled_from([(0.2, 0.5), (0.8, 2.0), (1.6, 2.5)]),
    breaks_s=st.lists(st.floats(15.0, 45.0), min_size=1, max_size=2).filter(lambda b: len(b) < 2 or b[1] - b[0] > 15),
    new_worker=st.booleans(),
)
@example(7, 1.0, 36.0, (1.6, 2.5), [20.0], False)
@example(7, 3.0, 36.0, (1.6, 2.5), [20.0], True)
def test_a_lost_session_of_a_late_service_loses_no_word(
    seed: int,
    delay_s: float,
    longest_s: float,
    pauses_s: tuple[float, float],
    breaks_s: list[float],
    new_worker: bool,
) -> None:
    service = PlainService(speech(seed, 60.0, pauses_s), delay_s, longest_s)
    assert transcribe(service, breaks_s, new_worker=new_worker) == [text for text, _, _ in service.words]


@pytest.mark.parametrize("seed", range(5))
def test_a_lost_session_loses_no_chinese_word(seed: int) -> None:
    """Chinese text has no spaces, so the repeated text is found by its characters."""
    alphabet = "零一二三四五六七八九嘅咗喺唔佢哋啲嗰嚟冇天地人日月山水火木金"
    service = PlainService(speech(seed, 60.0, (1.6, 2.5), alphabet), 2.0, 36.0)
    assert "".join(transcribe(service, [31.0])) == "".join(text for text, _, _ in service.words)


def test_sessions_that_end_before_the_first_new_text_do_not_start_at_the_same_position_without_end() -> None:
    service = PlainService(speech(3, 200.0, (1.6, 2.5)), 0.5, 36.0)
    runs = [(start_s, end_s) for _, start_s, end_s in service.words]
    assembler, segments, sent_s = Assembler(voiced(*runs), paced=True), list[Segment](), 0.0
    for _ in range(40):
        from_s = assembler.resume_s(sent_s)
        assembler.begin(from_s)
        segments += place(assembler, timeline(from_s, 10.0), *service.session(from_s, from_s + 10.0))
        sent_s = max(sent_s, from_s + 10.0)
    assert assembler.until_s > 90.0
    assert len(words_of(segments)) == len(set(words_of(segments)))


def test_a_short_answer_that_is_given_again_after_a_lost_session_stays() -> None:
    runs = [(n * 4.0, n * 4.0 + 0.4) for n in range(1, 10)]
    assembler = Assembler(voiced(*runs), paced=True)
    said = place(assembler, timeline(), *(commit("Yes.", sent_s=n * 4.0 + 2.2) for n in range(1, 5)))
    from_s = assembler.resume_s(20.0)
    assembler.begin(from_s)
    again = [commit("Yes.", sent_s=n * 4.0 + 2.2 - from_s) for n in range(1, 10) if n * 4.0 > from_s]
    said += place(assembler, timeline(from_s), *again)
    assert len(said) == 9


def test_word_times_of_the_new_session_do_not_hide_words_that_were_sent_before_the_text_arrived() -> None:
    """The text arrives when the next word has been sent. The next session sends word times."""
    assembler = Assembler(voiced((1.0, 2.0), (3.6, 5.0), (5.2, 6.0)), paced=True)
    place(assembler, timeline(), commit("alpha second", sent_s=5.0))
    from_s = assembler.resume_s(6.0)
    assembler.begin(from_s)
    again = commit(
        "second gamma delta", (1.5 - from_s, 2.0 - from_s), (3.6 - from_s, 5.0 - from_s), (5.2 - from_s, 6.0 - from_s)
    )
    assert words_of(place(assembler, timeline(from_s), again)) == ["gamma", "delta"]


@pytest.mark.parametrize(
    ("heard", "new"),
    [
        (["Hello there, my friend. And", "so on"], ["And", "so on"]),
        (["my friend and so on"], ["and so on"]),
        (["end and so on"], ["end and so on"]),  # too short: equal by chance
        (["Ello there my friend and so on"], ["and so on"]),  # the first word was cut
        (["my", "friend", "and so on"], ["and so on"]),
        (["Quite different", "my friend and"], ["Quite different", "and"]),
    ],
)
def test_a_session_may_begin_anywhere_in_the_committed_text(heard: list[str], new: list[str]) -> None:
    overlap = OverlapFilter()
    overlap.remember("Well. Hello there, my friend.", end_only=True)
    overlap.begin(again=True)
    assert [text for one in heard if (text := overlap.new_text(one))] == new
