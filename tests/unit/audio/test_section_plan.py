"""Files are cut into sections of equal length, in pauses, without losing a sample."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import audiofiles, sounds, tones
from tests.support.audiofiles import Coding
from tests.support.sources import SignalSource, in_blocks
from tests.support.tones import WORD_S, Samples, ToneWord
from worker.audio.decoding.decode import SndfileSource, open_source
from worker.audio.segmentation.scan import WINDOW_S, Scan, scan
from worker.audio.segmentation.section_plan import CutOptions, StreamingPlan, plan, plan_scan, sections_for
from worker.audio.segmentation.silence import SkipOptions

RATE = 16000
CUTTING = CutOptions(sessions=8, min_section_s=10)


def planned(signal: Samples, cutting: CutOptions = CUTTING, **options: Any) -> StreamingPlan:
    source = cast(SndfileSource, SignalSource(in_blocks(signal, 16000)))
    return plan(source, rate=RATE, cutting=cutting, **options)


def cut_words(found: StreamingPlan, words: list[ToneWord]) -> list[ToneWord]:
    """Words that the responsible section does not contain completely."""
    spans = [
        ((s.start - s.overlap_before) / found.rate, s.handover / found.rate, s.end / found.rate) for s in found.sections
    ]
    bad = []
    for word in words:
        middle = (word.start + word.end) / 2
        heard_from, _, end = [span for span in spans if span[1] <= middle][-1]
        if not (heard_from - 1e-4 <= word.start and word.end <= end + 1e-4):
            bad.append(word)
    return bad


def check_coverage(found: StreamingPlan) -> None:
    """Asserts that each sample is in exactly one section or skipped range."""
    own = [
        (max(a, section.start), b)
        for section in found.sections
        for a, b in found.pieces(section)
        if b > section.start
    ]  # fmt: skip
    at = 0
    for start, end in sorted([*own, *found.skipped]):
        assert start == at
        assert end > start
        at = end
    assert at == found.duration
    for section in found.sections:
        pieces = found.pieces(section)
        assert pieces[-1][1] == section.end, "a section ends inside a skipped range"
        assert pieces[0][0] == section.start - section.overlap_before or section.overlap_before
    heard = [s.start for s in found.sections]
    assert heard == sorted(heard)


# -- how many ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("duration_s", "sessions", "expected"),
    [
        (0, 8, 1), (30, 8, 1), (149, 8, 1), (150, 8, 2), (600, 8, 8), (3600, 32, 32), (3600, 8, 8), (3600, 1, 1),
        (36_000, 8, 24), (36_000, 32, 32), (36_000, 1, 1),
    ],
)  # fmt: skip
def test_the_number_of_sections_follows_length_and_sessions(duration_s: float, sessions: int, expected: int) -> None:
    assert sections_for(duration_s, CutOptions(sessions=sessions)) == expected


# -- any scan ----------------------------------------------------------------------------------------------------------
@st.composite
def scans(draw: st.DrawFn) -> Scan:
    """Loud and quiet stretches with and without speech, and a last window that may be short."""
    rate = draw(st.sampled_from([8000, 16000, 22050, 44100]))
    stretches = draw(
        st.lists(
            st.tuples(st.integers(1, 900), st.integers(0, 250), st.integers(0, 12), st.sampled_from([0, 20, 255])),
            min_size=1,
            max_size=25,
        )
    )
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    levels = np.concatenate([np.clip(rng.normal(m, s, n), 0, 255) for n, m, s, _ in stretches]).astype(np.uint8)
    voice = np.concatenate([np.full(n, v, np.uint8) for n, _, _, v in stretches])
    short = draw(st.integers(0, rate // 100))
    samples = round(len(levels) * WINDOW_S * rate) - short
    return Scan(levels, levels, voice if draw(st.booleans()) else None, max(1, samples), rate)


@given(
    found=scans(),
    rate=st.sampled_from([8000, 16000, 22050, 48000]),
    sessions=st.integers(1, 12),
    shortest_s=st.floats(0.5, 20),
    skip=st.booleans(),
    overlap_s=st.floats(0, 3),
)
def test_each_sample_is_in_one_section_or_skipped(
    found: Scan, rate: int, sessions: int, shortest_s: float, skip: bool, overlap_s: float
) -> None:
    cutting = CutOptions(sessions=sessions, min_section_s=shortest_s, overlap_s=overlap_s, max_section_s=60)
    result = plan_scan(found, rate, cutting, SkipOptions() if skip else None)
    check_coverage(result)
    kept_s = result.duration / rate - result.skipped_s
    if result.sections:
        assert len(result.sections) <= max(1, int(kept_s / shortest_s))
    else:
        assert result.skipped == ((0, result.duration),)
    if len(result.sections) > 1:
        for section in result.sections:
            own = sum(b - max(a, section.start) for a, b in result.pieces(section) if b > section.start)
            assert own / rate >= shortest_s - 0.1


# -- words made of tones -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("coding", "rate", "channels"),
    [(audiofiles.WAV, 16000, 1), (audiofiles.FLAC, 44100, 2), (audiofiles.MULAW, 8000, 1), (audiofiles.MP3, 44100, 1)],
    ids=str,
)
@pytest.mark.gate_sample(2)
def test_no_cut_is_inside_a_word(tmp_path: Path, coding: Coding, rate: int, channels: int) -> None:
    words = list(tones.speech(120, seed=rate))
    path = audiofiles.write_words(tmp_path / f"a.{coding.ending}", words, rate, coding, channels, duration_s=120)
    with open_source(path) as source:
        scanned = scan(source)
    assert plan(path, rate=RATE, cutting=CutOptions(sessions=2, min_section_s=6)) == plan_scan(
        scanned, RATE, CutOptions(sessions=2, min_section_s=6), None
    )
    for sessions in (2, 3, 8, 12):
        found = plan_scan(scanned, RATE, CutOptions(sessions=sessions, min_section_s=6), None)
        assert found.measured
        assert len(found.sections) == sessions
        assert [s.overlap_before for s in found.sections] == [0] * sessions
        assert cut_words(found, words) == []
        check_coverage(found)
        lengths = [(s.end - s.start) / RATE for s in found.sections]
        assert max(lengths) < 1.5 * 120 / sessions


@pytest.mark.parametrize("background", ["hiss", "loud hiss", "hum", "rumble"])
@pytest.mark.gate_sample(2)
def test_pauses_are_found_in_noise(background: str) -> None:
    words = list(tones.speech(200, seed=3))
    signal = tones.encode(words, duration_s=200)
    noise = sounds.noise(200, -30) if background == "loud hiss" else sounds.NOT_SPEECH[background](200)
    found = planned(signal + noise[: len(signal)])
    assert [s.overlap_before for s in found.sections] == [0] * 8
    assert cut_words(found, words) == []


def test_the_only_pause_within_reach_is_used() -> None:
    """Continuous words with a single pause, far from the middle."""
    words, at = [], 0.1
    for number in range(400):
        words.append(ToneWord(number, at))
        at += WORD_S + (0.6 if number == 160 else 0.0)
    found = planned(tones.encode(words), CutOptions(sessions=2, min_section_s=10))
    first, second = found.sections
    assert second.overlap_before == 0
    assert words[160].end < first.end / RATE == second.start / RATE < words[161].start


@pytest.mark.parametrize("gap_s", [0.0, 0.1])
def test_without_a_pause_the_sections_overlap(gap_s: float) -> None:
    words = [ToneWord(number, 0.1 + number * (WORD_S + gap_s)) for number in range(500)]
    found = planned(tones.encode(words))
    assert len(found.sections) == 8
    assert found.sections[0].overlap_before == 0
    assert [s.overlap_before / RATE for s in found.sections[1:]] == pytest.approx([2.0] * 7, abs=0.02)
    assert cut_words(found, words) == []
    check_coverage(found)


@pytest.mark.parametrize(
    "make",
    [
        lambda: sounds.tones_of(120, 440),
        lambda: sounds.noise(120, -20),
        lambda: sounds.hum(120),
        lambda: np.full(120 * RATE, 0.2, np.float32),
    ],
    ids=["tone", "noise", "hum", "constant"],
)
def test_continuous_sound_is_cut_too(make: Callable[[], Samples]) -> None:
    found = planned(make())
    assert len(found.sections) == 8
    check_coverage(found)
    lengths = [(s.end - s.start) / RATE for s in found.sections]
    assert min(lengths) >= 9.9
    assert max(lengths) <= 1.5 * 15 + 1


def test_one_section_is_not_read(tmp_path: Path) -> None:
    path = audiofiles.write_signal(tmp_path / "a.wav", sounds.silence(20), 8000)
    found = plan(path, rate=RATE, cutting=CutOptions(sessions=8))
    assert not found.measured
    assert [(s.start, s.end, s.overlap_before) for s in found.sections] == [(0, found.duration, 0)]
    assert found.duration == 2 * 20 * RATE  # 16,000 samples a second, written as 8,000


@pytest.mark.parametrize("samples", [1, 2, 255, 256, 257, 511, 8000])
@pytest.mark.parametrize("skip", [False, True])
def test_a_file_of_a_few_samples_has_a_valid_plan(samples: int, skip: bool) -> None:
    found = planned(np.full(samples, 0.3, np.float32), skipping=SkipOptions() if skip else None)
    assert (found.duration, len(found.sections)) == (samples, 1)
    check_coverage(found)


def test_an_exception_of_progress_stops_the_scan() -> None:
    class Enough(Exception):
        pass

    seen: list[float] = []

    def progress(seconds: float) -> None:
        seen.append(seconds)
        if seconds >= 3:
            raise Enough

    with pytest.raises(Enough):
        planned(sounds.silence(60), progress=progress)
    assert seen == [1, 2, 3]


# -- skipping ----------------------------------------------------------------------------------------------------------
def test_cuts_are_placed_in_skipped_silence() -> None:
    parts, words, at = [], [], 0.0
    for number in range(8):
        spoken = list(tones.speech(20, seed=number))
        words += [ToneWord(w.number, w.start + at) for w in spoken]
        parts += [tones.encode(spoken, duration_s=20), sounds.silence(10)]
        at += 30
    found = planned(np.concatenate(parts), CutOptions(sessions=4, min_section_s=10), skipping=SkipOptions())
    check_coverage(found)
    assert cut_words(found, words) == []
    assert len(found.sections) == 4
    ends = {end for end, _ in found.skipped} | {start for _, start in found.skipped}
    assert all(s.start in ends for s in found.sections[1:])
    for word in words:
        assert not any(a < word.end * RATE and word.start * RATE < b for a, b in found.skipped), word


def test_a_silent_file_has_no_sections() -> None:
    found = planned(sounds.silence(30), skipping=SkipOptions())
    assert (found.sections, found.skipped, found.speech_s) == ((), ((0, found.duration),), 0.0)
    assert found.skipped_s == 30
