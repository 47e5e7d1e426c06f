"""A service that repeats text or has wrong word times: every word appears as often as it was said, at its time."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest

from tests.support import sounds
from tests.support.audiofiles import write_signal, write_words
from tests.support.pipeline_run import TIME_TOLERANCE_S, assert_said, tone_service, transcribe
from tests.support.tones import Samples, ToneWord, encode, sentences, speech
from worker import metrics

SPOKEN = list(speech(16, seed=31))


@pytest.fixture
def spoken() -> list[ToneWord]:
    return SPOKEN


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("repeats") / "speech.wav", SPOKEN, 16000)


CORRECTED = [
    ["text-copies=3"], ["text-copies=2", "timed-only"], ["text-copies=4", "triplicate", "timed-first"],
    ["text-copies=3", "times=ms", "drift=0.1"],
    ["phantom"], ["phantom=3"], ["phantom=2", "timed-only"], ["phantom=2", "times=relative"],
    ["drift=0.1"], ["drift=-0.1"], ["drift=0.03"], ["drift=0.25"], ["offset=0.1"], ["offset=-0.3", "drift=0.1"],
    ["times=ms"], ["times=relative"], ["times=relative-ms"], ["times=negative"], ["times=beyond"], ["times=text"],
    ["times=reversed"], ["times=mixed"], ["times=relative@2"], ["times=ms@3", "drift=0.1:1"],
    ["swap"], ["swap", "timed-first"], ["swap", "timed-only"], ["swap", "triplicate"],
    ["pair-gap=1.5"], ["gap-growth=0.8"], ["gap-growth=0.5", "timed-first"],
]  # fmt: skip


@pytest.mark.parametrize("faults", CORRECTED, ids="+".join)
@pytest.mark.gate_sample(3)
async def test_every_word_appears_once_at_its_time(recording: Path, spoken: list[ToneWord], faults: list[str]) -> None:
    async with tone_service(*faults) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert transcript.coverage.complete
    assert not any("estimated" in warning for warning in transcript.warnings)


NOISES = {"hiss": lambda s: sounds.noise(s, -55), "pink noise": lambda s: sounds.noise(s, -56, 1)}


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
@pytest.mark.parametrize("faults", [["phantom=2"], ["drift=0.1"], ["drift=-0.25"], ["offset=0.1"]], ids="+".join)
@pytest.mark.gate_sample(2)
async def test_phantoms_and_wrong_times_are_corrected_in_noise(
    tmp_path: Path, spoken: list[ToneWord], noise: Callable[[float], Samples], faults: list[str]
) -> None:
    signal = encode(spoken, tail_s=2)
    source = write_signal(tmp_path / "noisy.wav", signal + noise(len(signal) / 16000)[: len(signal)], 16000)
    async with tone_service(*faults) as settings:
        transcript = await transcribe(source, settings)
    assert_said(transcript, spoken)


@pytest.mark.parametrize("faults", [["phantom=2"], ["text-copies=3"]], ids="+".join)
async def test_dropped_copies_are_counted(recording: Path, spoken: list[ToneWord], faults: list[str]) -> None:
    before = metrics.DUPLICATES_DROPPED._value.get()
    async with tone_service(*faults) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    pieces = 2 * len(transcript.segments)
    assert f"dropped {pieces} repeated pieces of text without sound" in " ".join(transcript.warnings)
    assert sum(section.dropped for section in transcript.coverage.sections) == pieces
    assert metrics.DUPLICATES_DROPPED._value.get() - before == pieces


async def test_without_dropped_text_there_is_no_warning(recording: Path, spoken: list[ToneWord]) -> None:
    async with tone_service() as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert not any("dropped" in warning for warning in transcript.warnings)


@pytest.mark.parametrize("faults", [["drift=0.1"], ["times=relative"], ["times=mixed"], ["phantom=2"]], ids="+".join)
async def test_broken_sessions_are_continued_by_new_ones(
    recording: Path, spoken: list[ToneWord], faults: list[str]
) -> None:
    async with tone_service(*faults, "drop=7:1-2") as settings:
        transcript = await transcribe(recording, settings, speed=16.0)
    assert_said(transcript, spoken)
    assert len(transcript.sessions) == 3


async def test_a_long_drift_is_corrected_to_its_end(tmp_path: Path) -> None:
    words = list(chain(*sentences(numbers=range(300), words=(3, 5))))
    source = write_words(tmp_path / "long.wav", words, 16000)
    async with tone_service("drift=0.1") as settings:
        assert_said(await transcribe(source, settings), words)


async def test_commits_out_of_order_are_sorted_throughout_a_long_file(tmp_path: Path) -> None:
    words = list(chain(*sentences(numbers=range(150), words=(3, 5))))
    source = write_words(tmp_path / "long.wav", words, 16000)
    async with tone_service("swap") as settings:
        transcript = await transcribe(source, settings)
    assert_said(transcript, words)
    assert transcript.coverage.complete


async def test_impossible_times_are_estimated_with_one_warning(recording: Path, spoken: list[ToneWord]) -> None:
    async with tone_service("times=zero") as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.text.split() == [w.text for w in spoken]
    assert all(s.timing == "estimated" for s in transcript.segments)
    (warning,) = [w for w in transcript.warnings if "estimated" in w]
    assert warning.startswith(f"{len(transcript.segments)} of {len(transcript.segments)} segments")


@pytest.mark.parametrize("faults", [["untimed=2"], ["untimed=3", "timed-first"]], ids="+".join)
async def test_commits_without_usable_times_do_not_move_others(
    recording: Path, spoken: list[ToneWord], faults: list[str]
) -> None:
    async with tone_service(*faults) as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.text.split() == [w.text for w in spoken]
    places = {w.text: w.start for w in spoken}
    heard = [w for s in transcript.segments for w in s.words]
    assert heard
    assert max(abs(w.start - places[w.text]) for w in heard) <= TIME_TOLERANCE_S
    assert any(s.timing == "estimated" for s in transcript.segments)


SAME = {
    "a sentence three times": [(0.0, 3), (3.0, 3), (6.0, 3)],
    "no, no, no": [(0.0, 1), (0.4, 1), (0.8, 1), (3.0, 3), (6.0, 1), (8.0, 1)],
    "a chorus": [(0.0, 3), (1.2, 3), (2.4, 3), (6.0, 3), (7.2, 3)],
}
MIXED_FAULTS = [[], ["triplicate"], ["timed-only"], ["drift=0.1"], ["phantom=2"], ["times=relative"], ["times=ms"]]
MIXED_FAULTS += [["untimed=2"], ["untimed=3"]]


@pytest.mark.parametrize("plan", SAME.values(), ids=SAME)
@pytest.mark.parametrize("faults", MIXED_FAULTS, ids=lambda f: "+".join(f) or "none")
@pytest.mark.parametrize("speed", [math.inf, pytest.param(4.0, marks=pytest.mark.chaos)])
@pytest.mark.gate_sample(3)
async def test_spoken_repetitions_appear_in_full(
    tmp_path: Path, plan: list[tuple[float, int]], faults: list[str], speed: float
) -> None:
    words = [ToneWord(7 + place, 0.5 + at + place * 0.33) for at, count in plan for place in range(count)]
    source = write_words(tmp_path / "again.wav", words, 16000)
    async with tone_service(*faults) as settings:
        transcript = await transcribe(source, settings, speed=speed)
    assert transcript.text.split() == [w.text for w in words]


@pytest.mark.parametrize("faults", [["phantom=2", "plain-only"], ["text-copies=3", "plain-only"]], ids="+".join)
async def test_without_word_times_repetitions_are_dropped_in_real_time(tmp_path: Path, faults: list[str]) -> None:
    spoken = list(speech(5, seed=33))
    recording = write_words(tmp_path / "short.wav", spoken, 16000)
    async with tone_service(*faults) as settings:
        transcript = await transcribe(recording, settings, speed=1.0)
    assert transcript.text.split() == [w.text for w in spoken]
