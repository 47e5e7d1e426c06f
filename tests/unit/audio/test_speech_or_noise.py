"""Sounds in audio without text are classified as speech, noise or unknown."""

from __future__ import annotations

import numpy as np
import pytest

from worker.audio.segmentation.scan import FLOOR_DB, STEP_DB, WINDOW_S, Scan
from worker.audio.segmentation.speech_or_noise import find_sounds, is_too_short


def scan(*parts: tuple[float, float, float], detector: bool = True) -> Scan:
    """A scan of consecutive parts (seconds, level in dB, probability of speech). Levels vary by a few dB like real
    sound."""
    levels, voice = [], []
    for seconds, level, probability in parts:
        count = round(seconds / WINDOW_S)
        levels.append(level + 5 * np.sin(np.arange(count) / 20) if level > -90 else np.full(count, level))
        voice.append(np.full(count, probability * 255))
    stored = np.clip((np.concatenate(levels) - FLOOR_DB) / STEP_DB, 0, 255).astype(np.uint8)
    heard = np.concatenate(voice).astype(np.uint8) if detector else None
    return Scan(stored, stored, heard, len(stored) * 256, 16000)


SILENCE = (2.0, -120.0, 0.0)


def talk(seconds: float, probability: float) -> list[tuple[float, float, float]]:
    """Sound with pauses."""
    return [(0.4, -25.0, probability), (0.2, -80.0, 0.0)] * round(seconds / 0.6)


def test_speech_is_found_at_its_position() -> None:
    (found,) = find_sounds(scan(SILENCE, (3, -30, 0.9), SILENCE), last=True)
    assert (found.kind, found.seconds) == ("speech", pytest.approx(3, abs=0.05))
    assert (found.start, found.end) == (pytest.approx(2, abs=0.05), pytest.approx(5, abs=0.05))


def test_short_speech_is_reported_only_if_no_text_follows() -> None:
    assert find_sounds(scan(SILENCE, (0.4, -30, 0.9), SILENCE), last=True) == []
    assert find_sounds(scan(SILENCE, (2, -30, 0.9), SILENCE), last=False) == []
    assert find_sounds(scan(SILENCE, (2, -30, 0.9), SILENCE), last=True) != []


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_audio_that_is_too_short_to_scan_never_contains_a_reported_sound(last: bool, probability: float) -> None:
    lengths_s = np.arange(0.0, 4.0, 0.05)
    short = [length_s for length_s in lengths_s if is_too_short(length_s, last=last)]
    for length_s in short:
        windows = int(np.ceil(length_s / WINDOW_S)) + 1
        assert find_sounds(scan((windows * WINDOW_S, -30, probability)), last=last) == []
    # The test of the length leaves out no more than that: a little longer speech is found.
    assert find_sounds(scan((max(short) + 0.1, -30, 1.0)), last=last) != []


def test_distant_stretches_are_separate() -> None:
    found = find_sounds(scan((3, -30, 0.9), (8, -120, 0), (3, -30, 0.9)), last=True)
    assert [one.kind for one in found] == ["speech", "speech"]


def test_only_long_noise_is_reported() -> None:
    assert find_sounds(scan((4, -30, 0.0)), last=True) == []
    (found,) = find_sounds(scan((8, -30, 0.0)), last=True)
    assert (found.kind, found.pauses) == ("noise", False)


def test_sound_with_pauses_is_reported_even_without_detected_speech() -> None:
    (found,) = find_sounds(scan(*talk(3, 0.0)), last=True)
    assert (found.kind, found.pauses) == ("noise", True)


def test_without_a_detector_the_kind_of_sound_is_unknown() -> None:
    (found,) = find_sounds(scan(*talk(3, 0.0), detector=False), last=True)
    assert found.kind == "unknown"


def test_faint_and_steady_sounds_are_ignored() -> None:
    assert find_sounds(scan((8, -70, 0.0)), last=True) == []
    steady = scan((8, -120, 0.0))
    hum = np.full(steady.windows, round((-40 - FLOOR_DB) / STEP_DB), np.uint8)
    assert find_sounds(Scan(hum, hum, None, steady.source_samples, 16000), last=True) == []
