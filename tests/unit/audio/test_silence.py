"""Silence is skipped by its level, with margins around speech."""

from __future__ import annotations

import tracemalloc
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import sounds, tones
from tests.support.sources import SignalSource, in_blocks
from tests.support.tones import Samples
from worker.audio.decoding.decode import SndfileSource
from worker.audio.segmentation.scan import WINDOW_S, Scan, scan
from worker.audio.segmentation.silence import (
    SkipOptions,
    StreamedWindows,
    WindowRange,
    silent_stretches,
    speech_windows,
)

SKIPPING = SkipOptions()
LEAST, MARGIN = round(SKIPPING.min_s / WINDOW_S), round(SKIPPING.margin_s / WINDOW_S)


def scanned(signal: Samples, size: int = 16000) -> Scan:
    return scan(cast(SndfileSource, SignalSource(in_blocks(signal, size))))


def skipped_s(signal: Samples) -> float:
    found = scanned(signal)
    stretches = silent_stretches(found, speech_windows(found, SKIPPING), SKIPPING)
    return sum(last - first for first, last in stretches) * WINDOW_S


@pytest.mark.parametrize("sound", ["digital silence", "hiss", "hum", "hum and hiss", "dial tone"])
def test_silence_and_steady_sound_are_skipped(sound: str) -> None:
    assert skipped_s(sounds.NOT_SPEECH[sound](30)) > 29


@pytest.mark.parametrize("sound", ["digital silence", "hiss", "hum"])
@pytest.mark.parametrize("amplitude", [0.4, 0.01])
def test_words_between_steady_sound_are_streamed(sound: str, amplitude: float) -> None:
    words = [tones.ToneWord(number, 10 + 0.4 * number) for number in range(40)]
    signal = tones.encode(words, duration_s=40, amplitude=amplitude)
    signal = signal + 0.1 * sounds.NOT_SPEECH[sound](40)[: len(signal)]
    found = scanned(signal)
    stretches = silent_stretches(found, speech_windows(found, SKIPPING), SKIPPING)
    assert len(stretches) == 2
    assert stretches[0].last * WINDOW_S == pytest.approx(10 - SKIPPING.margin_s, abs=0.3)
    assert stretches[1].first * WINDOW_S == pytest.approx(words[-1].end + SKIPPING.margin_s, abs=0.3)


def test_changing_sound_is_not_steady() -> None:
    assert skipped_s(sounds.tones_of(30, 440, on_s=0.5, every_s=1.0)) == 0
    assert skipped_s(sounds.hold_music(30)) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 700)), min_size=1, max_size=30))
def test_skipped_stretches_keep_their_margin_from_speech(runs: list[tuple[bool, int]]) -> None:
    speech = np.concatenate([np.full(length, value) for value, length in runs])
    left_out = np.zeros(len(speech), dtype=bool)
    silence = Scan(*2 * [np.zeros(len(speech), np.uint8)], None, len(speech) * 256, 16000)
    for first, last in silent_stretches(silence, speech, SKIPPING):
        assert last - first >= LEAST
        left_out[first:last] = True
        assert not speech[max(0, first - MARGIN) : last + MARGIN].any()
    # All audio that may be skipped is skipped.
    near = np.array([speech[max(0, k - MARGIN) : k + MARGIN + 1].any() for k in range(len(speech))])
    free = np.flatnonzero(np.diff(~near & ~left_out, prepend=False, append=False))
    assert all(b - a < LEAST for a, b in zip(free[::2], free[1::2], strict=True))


@pytest.mark.parametrize(("before", "kept_s"), [("silence", 0.8), ("steady", 0.8), ("changing", 3.0), ("late", 1.5)])
def test_sound_just_before_speech_is_streamed(before: str, kept_s: float) -> None:
    """The detector reports speech only from 20 s on."""
    levels = np.full(round(30 / WINDOW_S), {"silence": 0, "late": 0}.get(before, 150), np.uint8)
    if before == "changing":
        levels[np.arange(len(levels)) // 30 % 2 == 0] += 40
    if before == "late":
        levels[round(18.5 / WINDOW_S) :: 7] = 150
    onset = round(20 / WINDOW_S)
    voice = np.where(np.arange(len(levels)) < onset, 0, 255).astype(np.uint8)
    (stretch,) = silent_stretches(Scan(levels, levels, voice, len(levels) * 256, 16000), voice > 0, SKIPPING)
    assert (onset - stretch.last) * WINDOW_S == pytest.approx(kept_s, abs=0.05)


@given(st.integers(1, 400), st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50)), max_size=6))
def test_streamed_windows_are_those_not_skipped(tail: int, gaps: list[tuple[int, int]]) -> None:
    at, skipped = 0, []
    for before, length in gaps:
        skipped.append(WindowRange(at + before, at + before + length))
        at = skipped[-1].last
    mask = np.ones(at + tail, dtype=bool)
    for first, last in skipped:
        mask[first:last] = False
    kept = StreamedWindows(at + tail, skipped)
    expected = np.flatnonzero(mask)
    assert kept.count == len(expected)
    assert kept.windows(0, kept.count).tolist() == expected.tolist()
    assert [kept.window(k) for k in range(kept.count)] == expected.tolist()
    assert [expected[s] - expected[s - 1] > 1 for s in kept.seams] == [True] * len(skipped)


@pytest.mark.parametrize("size", [1, 100, 256, 1000, 50_000])
def test_levels_do_not_depend_on_the_blocks(size: int) -> None:
    signal = sounds.noise(2, -30)[:31_500]
    expected = scanned(signal, len(signal))
    assert scanned(signal, size).low.tolist() == expected.low.tolist()
    assert scanned(signal, size).high.tolist() == expected.high.tolist()
    assert expected.windows == -(-31_500 // 256)


def test_a_scan_uses_little_memory() -> None:
    minute = tones.encode(tones.speech(60), duration_s=60)
    peaks = []
    for minutes in (2, 15):
        source = SignalSource(block for _ in range(minutes) for block in in_blocks(minute, 16000))
        tracemalloc.start()
        scan(cast(SndfileSource, source))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 250_000, peaks
