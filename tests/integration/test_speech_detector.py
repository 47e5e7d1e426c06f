"""Skipping silence with the detector, on real speech and on sounds of telephones. No word is skipped, but noise is.

The recordings are in the folder `STT_TEST_AUDIO`, with a `manifest.json` that gives times where they are known.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pytest

from tests.support import sounds
from tests.support.sources import SignalSource, in_blocks
from tests.support.tones import Samples
from worker.audio.decoding.decode import SndfileSource, open_source
from worker.audio.resample import resample_blocks
from worker.audio.segmentation.section_plan import CutOptions, StreamingPlan, plan
from worker.audio.segmentation.silence import SkipOptions
from worker.audio.segmentation.silero_model import Silero, silero
from worker.audio.segmentation.speech_detector import VOICE_WINDOW

FOLDER = Path(os.environ.get("STT_TEST_AUDIO") or Path(__file__).parents[3] / "shared" / "audio")
MANIFEST = FOLDER / "manifest.json"
RATE = 16000

pytestmark = pytest.mark.recognizer
needs_recordings = pytest.mark.skipif(not MANIFEST.is_file(), reason=f"no recordings in {FOLDER}; set STT_TEST_AUDIO")


class Said(NamedTuple):
    """A word with its known time in seconds."""

    file: str
    text: str
    start: float
    end: float


def entries() -> list[dict[str, Any]]:
    return list(json.loads(MANIFEST.read_text(encoding="utf-8"))["files"]) if MANIFEST.is_file() else []


def said(entry: dict[str, Any]) -> Iterator[Said]:
    for word in entry.get("words", ()):
        yield Said(entry["file"], word["w"], word["start"], word["end"])
    for segment in entry.get("segments", ()):
        if "start" in segment:
            yield Said(entry["file"], segment["text"], segment["start"], segment["end"])


SPOKEN = [e for e in entries() if e["reference"]]
TIMED = [e for e in SPOKEN if any(said(e))]


@pytest.fixture(scope="module")
def detector() -> Silero:
    found = silero()
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the extra `local` is not installed")
        pytest.skip("the extra `local` is not installed")
    return found


@cache
def signal_of(file: str) -> Samples:
    with open_source(FOLDER / file) as source:
        return np.concatenate(list(resample_blocks(source.blocks(), source.info.sample_rate, RATE)))


def planned(signal: Samples, detector: Silero) -> StreamingPlan:
    source = cast(SndfileSource, SignalSource(in_blocks(signal, RATE)))
    return plan(source, rate=RATE, cutting=CutOptions(), skipping=SkipOptions(), detector=detector)


def lost(found: StreamingPlan, words: list[Said], offset_s: float = 0.0) -> list[Said]:
    return [
        word
        for word in words
        if any(a < (word.end + offset_s) * RATE and (word.start + offset_s) * RATE < b for a, b in found.skipped)
    ]


@pytest.mark.parametrize("sound", sounds.NOT_SPEECH)
def test_sound_without_speech_is_skipped(detector: Silero, sound: str) -> None:
    found = planned(sounds.NOT_SPEECH[sound](30), detector)
    assert found.skipped_s > 0.85 * 30, found
    assert found.detector == "silero"


@needs_recordings
def test_clatter_is_skipped(detector: Silero) -> None:
    found = planned(signal_of("nonspeech_doing_the_dishes_30s.flac"), detector)
    assert found.skipped_s > 0.6 * 30, found


def sampled(files: list[dict[str, Any]], conditions: tuple[str, ...]) -> list[Any]:
    """Each recording in one of the conditions. All other pairs run with the marker `matrix`."""
    return [
        pytest.param(
            entry,
            condition,
            id=f"{condition}-{entry['file']}",
            marks=[] if number % len(conditions) == at else pytest.mark.matrix,
        )
        for number, entry in enumerate(files)
        for at, condition in enumerate(conditions)
    ]


@needs_recordings
@pytest.mark.parametrize(("entry", "condition"), sampled(TIMED, ("clean", "faint", "noise", "hum")))
def test_no_word_is_lost(detector: Silero, entry: dict[str, Any], condition: str) -> None:
    signal = signal_of(entry["file"])
    level_db = 10 * np.log10(float(np.dot(signal, signal)) / len(signal))
    if condition == "faint":
        signal = signal * np.float32(0.03)
    elif condition == "noise":
        signal = signal + sounds.noise(len(signal) / RATE + 1, level_db - 3, 1)[: len(signal)]
    elif condition == "hum":
        signal = signal + sounds.hum(len(signal) / RATE + 1, amplitude=0.2)[: len(signal)]
    assert lost(planned(signal, detector), list(said(entry))) == []


@needs_recordings
@pytest.mark.parametrize(("entry", "around"), sampled(SPOKEN, ("digital silence", "hiss", "music on hold")))
@pytest.mark.gate_sample(3)
def test_speech_between_other_sounds_is_streamed(detector: Silero, entry: dict[str, Any], around: str) -> None:
    """A recording with twelve seconds of other sound before and after it. Within the recording, only its quiet parts
    may be skipped."""
    signal, wait = signal_of(entry["file"]), sounds.NOT_SPEECH[around](12)
    found = planned(np.concatenate([wait, signal, wait]), detector)
    assert lost(found, list(said(entry)), offset_s=12) == []
    assert sum(e - s for s, e in found.skipped) > 15 * RATE
    if entry.get("words"):
        return  # the time of each word is known
    loud_db = np.percentile(levels_db(signal), 90)
    for start, end in found.skipped:
        inside = signal[max(0, start - len(wait)) : max(0, end - len(wait))]
        assert len(inside) < RATE // 2 or np.percentile(levels_db(inside), 95) < loud_db - 10


def levels_db(signal: Samples) -> Samples:
    """Levels of pieces of 50 ms in dB."""
    pieces = np.resize(signal, max(1, len(signal) // 800) * 800).reshape(-1, 800)
    return 10 * np.log10(np.mean(pieces * pieces, axis=1) + 1e-10)


@needs_recordings
@pytest.mark.parametrize("entry", [e for e in SPOKEN if e.get("words")], ids=lambda e: e["file"])
@pytest.mark.parametrize("sessions", [2, 3, 4, 6])
def test_no_cut_is_inside_a_spoken_word(entry: dict[str, Any], sessions: int) -> None:
    """Spontaneous speech whose word times were set by hand."""
    source = cast(SndfileSource, SignalSource(in_blocks(signal_of(entry["file"]), RATE)))
    found = plan(source, rate=RATE, cutting=CutOptions(sessions=sessions, min_section_s=3, overlap_s=1))
    cuts = [section.start / RATE for section in found.sections[1:] if not section.overlap_before]
    assert cuts
    assert [(cut, w) for cut in cuts for w in said(entry) if w.start < cut < w.end] == []


def test_many_windows_at_once_equal_single_windows(detector: Silero) -> None:
    signal = sounds.hold_music(4)[: 100 * VOICE_WINDOW]
    detector.reset()
    once = detector(signal)
    detector.reset()
    single = [float(detector(piece)[0]) for piece in signal.reshape(-1, VOICE_WINDOW)]
    np.testing.assert_allclose(once, single, atol=1e-4)
    assert len(detector(signal[:0])) == 0
