"""Each kind of complete but wrong transcript gets a reason for review, through the whole pipeline."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.node_env import missing
from tests.support.pipeline_run import KEY, tone_service, transcribe
from tests.support.tones import encode, speech
from worker.server import app
from worker.server.recognizers import Recognition, RecognizedWord, Samples
from worker.settings import Settings, load
from worker.transcript.model import Quality, Transcript

RATE = 16000


class Inventor:
    """A recognizer that takes every sound for speech and returns its next sentence for it."""

    model = "inventor"
    language = "en"
    parallel = 1

    def __init__(self, sentences: Iterator[str], logprob: float | None) -> None:
        self._sentences = sentences
        self._logprob = logprob

    def voice_detector(self) -> object:
        return lambda samples: np.ones(len(samples) // 512, np.float32)

    def recognize(self, samples: Samples, *, final: bool) -> Recognition:
        if not final:
            return Recognition("")
        texts = next(self._sentences).split()
        step = len(samples) / RATE / len(texts)
        words = tuple(RecognizedWord(text, n * step, (n + 0.9) * step, self._logprob) for n, text in enumerate(texts))
        return Recognition(" ".join(texts), words, "en")

    def close(self) -> None:
        pass


@asynccontextmanager
async def inventing(sentences: Iterator[str], logprob: float | None) -> AsyncIterator[Settings]:
    environ = {"STT_API_KEY": KEY, "STT_SERVER_SEGMENT_MAX_S": "6"}
    server = await app.start(load({**environ, "STT_SERVER_PORT": "0"}), Inventor(sentences, logprob), [])
    try:
        await server.ready()
        yield load({**environ, "STT_URL": server.url})
    finally:
        await server.close()


def music(duration_s: float) -> Samples:
    """Chords of plucked strings: sound with overtones and rhythm, without speech."""
    at = np.arange(int(duration_s * RATE)) / RATE
    beat = np.floor(at / 0.5)
    notes = 220.0 * 2 ** (np.array([0, 5, 7, 12])[(beat % 4).astype(int)] / 12)
    fade = np.exp(-4.0 * (at % 0.5))
    tones = sum(np.sin(2 * np.pi * k * notes * at) / k for k in (1, 1.26, 1.5, 2, 3))
    return (0.12 * fade * tones).astype(np.float32)


def quality_of(transcript: Transcript) -> Quality:
    assert transcript.quality is not None
    return transcript.quality


def codes(transcript: Transcript) -> set[str]:
    return {reason.code for reason in quality_of(transcript).reasons}


@pytest.mark.recognizer
@pytest.mark.parametrize("logprob", [-0.7, None], ids=["unsure", "without confidence"])
async def test_invented_text_for_music_needs_a_review(tmp_path: Path, logprob: float | None) -> None:
    if find_spec("faster_whisper") is None:
        missing("the speech detector is not installed: pip install 'stt-batch[local]'")
    path = tmp_path / "music.wav"
    soundfile.write(path, music(30.0), RATE)
    sentences = (f"thank you all for watching part {chr(97 + n)} of this" for n in count())
    async with inventing(sentences, logprob) as settings:
        transcript = await transcribe(path, settings)
    assert "not_speech" in codes(transcript)
    assert quality_of(transcript).needs_review


async def test_a_looped_sentence(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, encode(list(speech(40.0, seed=3)), RATE), RATE)
    async with inventing(iter(["thank you for watching"] * 20), -0.05) as settings:
        transcript = await transcribe(path, settings)
    assert "repetition" in codes(transcript)
    assert quality_of(transcript).repeated_text > 0.5


async def test_channels_of_opposite_phase_need_a_review(tmp_path: Path) -> None:
    path = tmp_path / "inverted.flac"
    left = encode(list(speech(8.0, seed=4)), RATE)
    soundfile.write(path, np.column_stack([left, -left]), RATE)
    async with tone_service(STT_SPEECH_DETECTOR="level") as settings:
        transcript = await transcribe(path, settings)
    assert codes(transcript) == {"channels"}


async def test_sound_without_text_needs_a_review(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, encode(list(speech(20.0, seed=5)), RATE), RATE)
    async with tone_service("never-commit=8", STT_SESSION_RETRIES="0", STT_SPEECH_DETECTOR="level") as settings:
        transcript = await transcribe(path, settings)
    assert codes(transcript) & {"missing", "no_text"}


async def test_an_ordinary_call_needs_no_review(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    soundfile.write(path, encode(list(speech(8.0, seed=6)), RATE), RATE)
    async with tone_service() as settings:
        assert codes(await transcribe(path, settings)) == set()
