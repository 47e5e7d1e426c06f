"""Transcripts of a simulated service whose speech is known: every word once, at about the right time.

The service has the faults that real ones have been seen to have: inexact word times, times that drift with each commit,
a constant delay, and sessions that break. Speakers say the same words again.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.transcript.test_assemble import RATE, timeline, voiced
from worker.realtime.commit_pairing import Commit
from worker.realtime.messages import WireWord
from worker.transcript.assemble import Assembler
from worker.transcript.model import Segment

Times = list[tuple[float, float]]
TOLERANCE_S: Final = 0.03
BREATH_S: Final = (0.07, 0.09)
"""Sound before the first and after the last word of a phrase, in recordings with breath and echo."""
COMMITS: Final = 10
PHRASES: Final[dict[str, tuple[str, ...]]] = {
    "different words": (),
    "one word again and again": ("no",),
    "one Chinese word": ("係",),
    "counting": ("one", "two", "three"),
    "the same sentence": ("yes", "that", "is", "right"),
}


@dataclass(frozen=True)
class VirtualService:
    """One recording and the faults of the service that transcribes it."""

    seed: int
    phrase: str = "different words"
    jitter_s: float = 0.0
    step_s: float = 0.0
    """Change of the delay per commit."""
    delay_s: float = 0.0
    sound: str = "phrases"
    """One run of sound per phrase ("phrases") or word ("words"), or runs longer than the phrases ("breath")."""
    paced: bool = True
    short: bool = False
    """Phrases of one to three words."""
    breaks: bool = False
    """The session ends at a random commit, and another one continues."""

    def speech(self) -> tuple[list[Times], list[list[str]]]:
        """Return the true times and the words of each commit."""
        rng, at = Random(self.seed), 0.6
        spoken: list[Times] = []
        texts = []
        for number in range(COMMITS):
            words: Times = []
            for _ in range(rng.randint(1, 3) if self.short else rng.randint(2, 6)):
                length_s = rng.uniform(0.15, 0.45)
                words.append((at, at + length_s))
                at += length_s + rng.uniform(0.08, 0.2)
            vocabulary = PHRASES[self.phrase]
            names = [vocabulary[i % len(vocabulary)] if vocabulary else f"w{number}x{i}" for i in range(len(words))]
            spoken.append(words)
            texts.append(names)
            at += rng.uniform(0.9, 1.8)
        return spoken, texts

    def runs(self, spoken: list[Times]) -> Times:
        if self.sound == "words":
            return [word for words in spoken for word in words]
        before_s, after_s = BREATH_S if self.sound == "breath" else (0.0, 0.0)
        return [(words[0][0] - before_s, words[-1][1] + after_s) for words in spoken]

    def transcribe(self) -> tuple[list[Times], list[list[str]], list[Segment]]:
        """Return the true times, the true words, and the segments of the transcript."""
        spoken, texts = self.speech()
        rng = Random(self.seed + 1)
        assembler, end_s = Assembler(voiced(*self.runs(spoken)), paced=self.paced), spoken[-1][-1][1] + 2.0
        line, base_s, number, since = timeline(length_s=end_s), 0.0, 0, 0
        break_at = rng.randint(3, 7) if self.breaks else -1
        segments = []
        while number < len(spoken):
            if number == break_at:
                break_at = -1
                base_s = assembler.resume_s(spoken[number][0][0] + 0.2)
                assembler.begin(base_s)
                line = timeline(start_s=base_s, length_s=end_s - base_s)
                # The new session transcribes all speech after its start again.
                number = next(n for n, words in enumerate(spoken) if words[0][0] > base_s)
                since = number
            words = [
                WireWord(text, *(edge + self._error_s(rng, number - since) - base_s for edge in word), confidence=0.9)
                for text, word in zip(texts[number], spoken[number], strict=True)
            ]
            sent_s = (spoken[number][-1][1] + 1.4 if self.paced else end_s) - base_s
            commit = Commit(" ".join(texts[number]), tuple(words), None, int(min(sent_s, end_s) * RATE))
            if (segment := assembler.place(commit, line)) is not None:
                segments.append(segment)
            number += 1
        return spoken, texts, segments

    def _error_s(self, rng: Random, number: int) -> float:
        return self.delay_s + self.step_s * number + rng.uniform(-self.jitter_s, self.jitter_s)


def said(texts: list[list[str]]) -> list[str]:
    return [word for words in texts for word in words]


def transcribed(segments: list[Segment]) -> list[str]:
    return " ".join(s.text for s in segments).split()


def errors_s(spoken: list[Times], segments: list[Segment], since: int = 0) -> list[float]:
    """Errors of the starts of all words from commit `since` on. Fails if a word has no times."""
    true = [start for words in spoken for start, _ in words]
    found = [word.start for segment in segments for word in segment.words]
    first = sum(len(words) for words in spoken[:since])
    return [abs(a - b) for a, b in zip(true, found, strict=True)][first:]


services = st.builds(
    VirtualService,
    seed=st.integers(0, 10**6),
    phrase=st.sampled_from(list(PHRASES)),
    jitter_s=st.floats(0.0, 0.12),
    sound=st.sampled_from(["phrases", "words", "breath"]),
    paced=st.booleans(),
    short=st.booleans(),
    breaks=st.booleans(),
)


@given(services)
# These lost a word, or moved a commit by more than a second, before the trend of delays was followed.
@example(VirtualService(532002, "one Chinese word", 0.12, paced=False))
@example(VirtualService(728856, "one word again and again", 0.12, sound="words", paced=False))
@example(VirtualService(754326, "different words", 0.12, sound="breath", short=True))
def test_inexact_times_lose_no_word_and_move_none(service: VirtualService) -> None:
    spoken, texts, segments = service.transcribe()
    assert transcribed(segments) == said(texts)
    assert max(errors_s(spoken, segments)) <= 2 * service.jitter_s + TOLERANCE_S


@settings(max_examples=40)
@given(services, st.sampled_from([0.1, -0.1]))
@example(VirtualService(707686, "one Chinese word", sound="breath"), 0.1)
@example(VirtualService(123646, "one word again and again", 0.03, sound="breath", short=True), 0.1)
def test_a_drift_with_inexact_times_loses_no_word(service: VirtualService, step_s: float) -> None:
    """Word times drift by 0.1 s per commit, as was reported of a real service. The drift is corrected from the seventh
    commit on."""
    drifting = VirtualService(**{**vars(service), "step_s": step_s, "jitter_s": min(service.jitter_s, 0.08)})
    spoken, texts, segments = drifting.transcribe()
    assert transcribed(segments) == said(texts)
    if not drifting.breaks:
        assert max(errors_s(spoken, segments, since=6)) <= 2 * drifting.jitter_s + 0.25


@settings(max_examples=40)
@given(services, st.sampled_from([0.3, -0.3, 0.1]))
@example(VirtualService(800798, "one word again and again", sound="breath", paced=False, short=True), 0.3)
def test_a_constant_delay_with_inexact_times_loses_no_word(service: VirtualService, delay_s: float) -> None:
    delayed = VirtualService(**{**vars(service), "delay_s": delay_s, "jitter_s": min(service.jitter_s, 0.05)})
    spoken, texts, segments = delayed.transcribe()
    assert transcribed(segments) == said(texts)
    assert max(errors_s(spoken, segments)) <= abs(delay_s) + 2 * delayed.jitter_s + 0.1


@pytest.mark.parametrize("phrase", PHRASES)
@pytest.mark.parametrize("paced", [True, False], ids=["1x", "max"])
def test_exact_times_do_not_change(phrase: str, paced: bool) -> None:
    spoken, texts, segments = VirtualService(7, phrase, paced=paced).transcribe()
    assert transcribed(segments) == said(texts)
    assert max(errors_s(spoken, segments)) <= 0.0011
