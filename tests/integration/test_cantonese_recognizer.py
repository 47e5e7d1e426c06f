"""The multilingual model of the extra `local-multi` behind `-l yue`: spoken Cantonese, and no prompt without speech."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from tasks.embedded.recognizer_choice import for_language
from worker import settings
from worker.errors import LanguageUnsupported, ModelUnavailable
from worker.server import recognizers
from worker.server.recognizers import SAMPLE_RATE, Recognizer, Samples

pytestmark = pytest.mark.recognizer


@pytest.fixture(scope="module")
def engine() -> Iterator[Recognizer]:
    try:
        loaded = recognizers.load(for_language(settings.load({}), "yue"))
    except (ModelUnavailable, LanguageUnsupported) as exc:
        pytest.skip(str(exc))
    yield loaded
    loaded.close()


def sounds(duration_s: float) -> dict[str, Samples]:
    """Sounds without speech. They go to the recognizer directly, as if voice activity detection had let them pass."""
    rng = np.random.default_rng(0)
    t = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    chords = sum(np.sin(2 * np.pi * hz * t) for hz in (261.6, 329.6, 392.0)) * np.exp(-(t % 0.5) * 4) * 0.2
    breath = np.convolve(rng.standard_normal(len(t)), np.ones(8) / 8, "same") * np.sin(np.pi * t / 2) ** 2 * 0.2
    made = {
        "silence": np.zeros(len(t)),
        "white noise": rng.standard_normal(len(t)) * 0.1,
        "a tone": 0.5 * np.sin(2 * np.pi * 1000 * t),
        "chords": chords,
        "breathing": breath,
        "drums": rng.standard_normal(len(t)) * np.exp(-(t % 0.5) * 20) * 0.4,
    }
    return {name: samples.astype(np.float32) for name, samples in made.items()}


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("kind", sounds(1))
@pytest.mark.gate_sample(3)
def test_no_text_of_the_prompt_without_speech(engine: Recognizer, kind: str, final: bool) -> None:
    assert engine.recognize(sounds(3)[kind], final=final).text == ""


def test_no_text_of_the_prompt_for_a_long_tone(engine: Recognizer) -> None:
    assert engine.recognize(sounds(15)["a tone"], final=True).text == ""


def recording(name: str) -> Samples:
    folder = Path(os.environ.get("STT_TEST_AUDIO") or Path(__file__).parents[2].parent / "shared" / "audio")
    path = folder / name
    if not path.exists():
        pytest.skip(f"{path} is not there (set STT_TEST_AUDIO to the folder of test recordings)")
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    resampled: Samples = soxr.resample(samples[:, 0], rate, SAMPLE_RATE)
    return resampled


@pytest.mark.parametrize(
    ("name", "spoken", "written"),
    [
        ("yue_sensevoice_example.wav", "嘅唔", "的不"),
        ("yue_xg0011541_258290_268600.wav", "嘅啲佢哋", "的他們"),
    ],
)
def test_spoken_cantonese_is_written(engine: Recognizer, name: str, spoken: str, written: str) -> None:
    said = engine.recognize(recording(name), final=True)
    assert set(spoken) <= set(said.text)
    assert not set(written) & set(said.text)
    assert said.language == "yue"
    assert said.words[-1].end <= len(recording(name)) / SAMPLE_RATE


def test_numbers_are_written_as_spoken(engine: Recognizer) -> None:
    said = engine.recognize(recording("yue_230636120099_7mx8A_25_13800.wav")[-round(4.6 * SAMPLE_RATE) :], final=True)
    assert "三百五十六公里" in said.text


def test_a_clip_has_no_repetition_loop(engine: Recognizer) -> None:
    digits = recording("yue_digits_1_to_10.flac")
    text = engine.recognize(digits[: round(3.8 * SAMPLE_RATE)], final=True).text
    assert not any(text.count(text[at : at + 2]) > 3 for at in range(len(text) - 1)), text


def test_english_in_a_cantonese_file_is_not_replaced_by_the_prompt(engine: Recognizer) -> None:
    text = engine.recognize(recording("en_jfk_1961.flac")[: 12 * SAMPLE_RATE], final=True).text
    assert "ask what you can do for your country" in text
