"""Runs with voice activity, and the map that collects them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.audio.pcm_frames import to_pcm16
from worker.audio.voice_activity import PcmFrame, VoiceActivityMap, frames_with_voice, voiced_runs

RATE = 16000


def pcm(plan: list[tuple[float, float]]) -> bytes:
    """PCM of consecutive 300 Hz tones (seconds, amplitude)."""
    parts = [a * np.sin(2 * np.pi * 300 * np.arange(int(s * RATE)) / RATE) for s, a in plan]
    return to_pcm16(np.concatenate(parts).astype(np.float32)).tobytes()


def test_runs_match_the_positions_of_the_sound() -> None:
    runs = voiced_runs(pcm([(0.5, 0), (0.3, 0.1), (0.2, 0), (0.1, 0.5)]), 160)
    assert [(s / RATE, e / RATE) for s, e in runs] == [pytest.approx((0.5, 0.8)), pytest.approx((1.0, 1.1))]


def test_quiet_speech_counts_and_an_idle_line_does_not() -> None:
    assert voiced_runs(pcm([(1, 10 ** (-55 / 20))]), 160) == ((0, RATE),)
    assert voiced_runs(pcm([(1, 10 ** (-72 / 20))]), 160) == ()
    assert voiced_runs(b"", 160) == ()


@given(st.lists(st.integers(1, 40).map(lambda n: n * 160), min_size=1, max_size=12), st.integers(0, 10))
def test_a_map_does_not_depend_on_the_frames(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = [(float(rng.integers(8, 40)) / 100, float(rng.choice([0.0, 0.3]))) for _ in range(8)]
    whole = pcm(plan)
    cut, at = [], 0
    for length in lengths:
        cut.append(whole[at : at + length * 2])
        at += length * 2
    cut.append(whole[at:])
    one, other = VoiceActivityMap(RATE), VoiceActivityMap(RATE)
    for frame in frames_with_voice([whole], 0, RATE):
        one.add(frame)
    for frame in frames_with_voice([c for c in cut if c], 0, RATE):
        other.add(frame)
    for at_s in np.arange(0, len(whole) / 2 / RATE, 0.05):
        assert one.onset_s(float(at_s)) == other.onset_s(float(at_s))
        assert one.end_s(float(at_s)) == other.end_s(float(at_s))


def test_onsets_and_ends_are_found() -> None:
    voice = VoiceActivityMap(RATE)
    voice.add(PcmFrame(b"", 0, ((1600, 3200), (8000, 16000))))
    assert voice.onset_s(0.0) == 0.1
    assert voice.onset_s(0.15) == 0.15
    assert voice.onset_s(0.2) == 0.5
    assert voice.onset_s(1.0) is None
    assert voice.end_s(0.05) is None
    assert voice.end_s(0.15) == 0.2
    assert voice.end_s(0.4) == 0.2
    assert voice.end_s(9) == 1.0


def test_a_repeated_frame_changes_nothing() -> None:
    voice = VoiceActivityMap(RATE)
    for _ in range(2):
        voice.add(PcmFrame(b"", 0, ((1600, 3200),)))
        voice.add(PcmFrame(b"", 16000, ((0, 3200),)))
    assert voice.onset_s(0.3) == 1.0
    assert voice.end_s(0.9) == 0.2


def test_runs_between_two_moments_are_limited_to_them() -> None:
    voice = VoiceActivityMap(RATE)
    voice.add(PcmFrame(b"", 0, ((RATE, 2 * RATE), (3 * RATE, 5 * RATE))))
    assert voice.runs_s(0.0, 9.0) == [(1.0, 2.0), (3.0, 5.0)]
    assert voice.runs_s(1.5, 4.0) == [(1.5, 2.0), (3.0, 4.0)]
    assert voice.runs_s(2.0, 3.0) == []
