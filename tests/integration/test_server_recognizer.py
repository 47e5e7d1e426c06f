"""The embedded recognizer behind the service: synthesised speech, silence and noise, and the shell around Whisper."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr

from tests.support.service import Caller, caller, pcm16, service
from worker import settings
from worker.errors import LanguageUnsupported, ModelUnavailable, SettingsError
from worker.realtime import messages
from worker.server import recognizers
from worker.server.endpointing import EndpointingRules
from worker.server.recognizers import SAMPLE_RATE, BatchRecognizer, Recognizer, Samples
from worker.server.speech_segmenter import SpeechSegmenter

pytestmark = pytest.mark.recognizer

GPU = find_spec("ctranslate2") is not None and import_module("ctranslate2").get_cuda_device_count() > 0
SAMPLES = Path(__file__).parents[1] / "samples"


@dataclass(frozen=True)
class Spoken:
    samples: Samples
    rate: int
    sentences: list[dict[str, Any]]

    @property
    def at_engine_rate(self) -> Samples:
        resampled: Samples = soxr.resample(self.samples, self.rate, SAMPLE_RATE)
        return resampled


@pytest.fixture(scope="module")
def engine() -> Iterator[Recognizer]:
    try:
        loaded = recognizers.load(settings.load({}))
    except ModelUnavailable as exc:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(str(exc))
    yield loaded
    loaded.close()


def sample(name: str) -> Spoken:
    """Return the first channel of one of the project's own recordings (synthesized)."""
    samples, rate = soundfile.read(SAMPLES / name, dtype="float32", always_2d=True)
    return Spoken(samples[:, 0], rate, json.loads((SAMPLES / "texts.json").read_text())[name]["sentences"])


def sounding(spoken: Spoken, sentence: dict[str, Any]) -> tuple[float, float]:
    """Return start and end of a sentence in the file in seconds, without the silence at its edges."""
    first = round(sentence["start"] * spoken.rate)
    part = spoken.samples[first : round(sentence["end"] * spoken.rate)]
    loud = np.nonzero(np.abs(part) > 0.03)[0]
    return (first + loud[0]) / spoken.rate, (first + loud[-1]) / spoken.rate


def plain(text: str) -> str:
    return " ".join("".join(c for c in text.lower() if c.isalpha() or c.isspace()).split())


async def told(engine: Recognizer, samples: Samples, rate: int, chunk_s: float = 0.5) -> Caller:
    """Send the samples to the service. Returns the messages that the client receives."""
    async with service(engine) as server, caller(server) as one:
        await one.start(rate)
        await one.say(pcm16(samples), rate, chunk_s)
        assert (await one.finish(60))["code"] == 1000
        assert one.errors == []
        return one


@pytest.mark.parametrize("name", ["phone-call.wav", "news.flac", "interview.mp3"])
async def test_speech_is_understood_and_placed(engine: Recognizer, name: str) -> None:
    spoken = sample(name)
    one = await told(engine, spoken.samples, spoken.rate)
    commits = one.messages(messages.TYPE_COMMITTED_TIMED)
    assert [plain(m["text"]) for m in commits] == [plain(s["text"]) for s in spoken.sentences]
    for message, sentence in zip(commits, spoken.sentences, strict=True):
        words = [w for w in message["words"] if w["type"] == "word"]
        start, end = sounding(spoken, sentence)
        assert abs(words[0]["start"] - start) < 0.15
        assert abs(words[-1]["end"] - end) < 0.3
        assert all(a["end"] <= b["start"] for a, b in pairwise(words))
        assert all(-5 < w["logprob"] <= 0 for w in words)
        assert message["language_code"] == "en"


def nonspeech() -> dict[str, Samples]:
    rng = np.random.default_rng(0)
    t = np.arange(15 * SAMPLE_RATE) / SAMPLE_RATE
    dial = sum(np.sin(2 * np.pi * hz * t) for hz in (770, 1336)) * (t % 0.5 < 0.1) * 0.3
    return {
        "silence": np.zeros(len(t), np.float32),
        "white noise": (rng.standard_normal(len(t)) * 0.1).astype(np.float32),
        "faint hiss": (rng.standard_normal(len(t)) * 0.001).astype(np.float32),
        "mains hum": (0.3 * np.sin(2 * np.pi * 50 * t) + 0.1 * np.sin(2 * np.pi * 150 * t)).astype(np.float32),
        "a tone": (0.5 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32),
        "dialling": dial.astype(np.float32),
        "clicks": ((t * 3 % 1 < 0.0002) * 0.9).astype(np.float32),
    }


@pytest.mark.parametrize("kind", nonspeech())
async def test_nothing_is_invented_where_nobody_speaks(engine: Recognizer, kind: str) -> None:
    one = await told(engine, nonspeech()[kind], SAMPLE_RATE)
    assert one.text == ""
    assert all(m["text"] == "" for m in one.messages(messages.TYPE_PARTIAL))


async def test_nothing_is_invented_while_the_dishes_are_done(engine: Recognizer) -> None:
    folder = Path(os.environ.get("STT_TEST_AUDIO") or Path(__file__).parents[2].parent / "shared" / "audio")
    path = folder / "nonspeech_doing_the_dishes_30s.flac"
    if not path.exists():
        pytest.skip(f"{path} is not there (set STT_TEST_AUDIO to the folder of test recordings)")
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    one = await told(engine, samples[:, 0], rate)
    assert one.text == ""


async def test_partials_come_while_the_speech_goes_on(engine: Recognizer) -> None:
    spoken = sample("interview.mp3")
    async with service(engine) as server, caller(server) as one:
        await one.start(spoken.rate)
        await one.say(pcm16(spoken.samples[: round(3.0 * spoken.rate)]), spoken.rate)
        await one.until(lambda: any(m["text"] for m in one.messages(messages.TYPE_PARTIAL)), "a partial with text")
        first = next(m["text"] for m in one.messages(messages.TYPE_PARTIAL) if m["text"])
        assert plain(first).startswith("so tell me")


def test_recognitions_side_by_side_give_what_they_give_alone(engine: Recognizer) -> None:
    segments = [sample(name).at_engine_rate for name in ("phone-call.wav", "news.flac")] * 2
    alone = [engine.recognize(segment, final=True) for segment in segments[:2]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda segment: engine.recognize(segment, final=True), segments))
    assert together == alone * 2


def test_a_segment_of_thirty_seconds_is_read_to_its_end(engine: Recognizer) -> None:
    speech = sample("news.flac").at_engine_rate
    said = engine.recognize(np.tile(speech, 4)[: 29 * SAMPLE_RATE], final=True)
    assert plain(said.text).count("heavy rain closed several roads") == 3
    assert said.words[-1].end > 25


def test_short_and_empty_segments_are_harmless(engine: Recognizer) -> None:
    for length in (0, 1, 160, 1600, 8000):
        for final in (True, False):
            said = engine.recognize(np.zeros(length, np.float32), final=final)
            assert all(0 <= w.start <= w.end <= length / SAMPLE_RATE for w in said.words)


def test_the_voice_detector_carries_its_state(engine: Recognizer) -> None:
    from faster_whisper.vad import get_vad_model

    speech = sample("phone-call.wav").at_engine_rate
    speech = np.ascontiguousarray(speech[: len(speech) // 512 * 512])
    whole = engine.voice_detector()(speech)
    detector = engine.voice_detector()
    parts = [detector(speech[at : at + 512 * n]) for at, n in _windows(len(speech))]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-4)
    # The loop of faster-whisper clears the context of the last 64 samples differently, but only for the first window.
    np.testing.assert_allclose(get_vad_model()(speech.copy()).reshape(-1)[1:], whole[1:], atol=0.02)
    assert whole.max() > 0.9
    assert len(whole) == len(speech) // 512


def _windows(length: int) -> Iterator[tuple[int, int]]:
    sizes = [1, 2, 3, 7, 1, 20]
    at, turn = 0, 0
    while at < length:
        n = sizes[turn % len(sizes)]
        yield at, n
        at, turn = at + 512 * n, turn + 1


def test_an_english_model_refuses_other_languages(engine: Recognizer) -> None:
    with pytest.raises(LanguageUnsupported, match="STT_MODEL=base"):
        recognizers.load(settings.load({}, server_language="yue"))


def test_a_model_that_cannot_be_had_is_told_with_the_way_out(
    engine: Recognizer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from faster_whisper import utils

    def unreachable(*_args: object, **_options: object) -> str:
        raise OSError("no route to the hub")

    monkeypatch.setattr(utils, "download_model", unreachable)
    with pytest.raises(ModelUnavailable, match=r"no route to the hub.*STT_MODEL"):
        recognizers.load(settings.load({}, model="large-v3", server_model_cache=str(tmp_path)))
    with pytest.raises(ModelUnavailable, match="no model 'large-v9'"):
        recognizers.load(settings.load({}, model="large-v9", server_model_cache=str(tmp_path)))


def test_joined_segments_have_the_words_and_times_of_single_ones(engine: Recognizer) -> None:
    """A file that is sent faster than real time is recognized in groups of segments, a live session in single ones."""
    assert isinstance(engine, BatchRecognizer)
    speech = np.concatenate([sample(name).at_engine_rate for name in ("news.flac", "phone-call.wav")])
    segmenter = SpeechSegmenter(SAMPLE_RATE, engine.voice_detector(), EndpointingRules(commit_silence_s=0.3))
    pcm = np.clip(np.rint(speech * 32767), -32768, 32767).astype(np.int16)
    found = [*segmenter.process(pcm), *segmenter.finish()]
    segments = [samples for utterance in found for _, samples in utterance.pieces]
    assert len(segments) >= 3
    single = [engine.recognize(segment, final=True) for segment in segments]
    (joined,) = engine.recognize_batch([segments])
    two_groups = engine.recognize_batch([segments[:2], segments[2:]])
    for results in (joined, [one for group in two_groups for one in group]):
        assert [plain(one.text) for one in results] == [plain(one.text) for one in single]
        words = [word for one in results for word in one.words]
        for word, alone in zip(words, (word for one in single for word in one.words), strict=True):
            # A segment begins with 0.35 s of silence, into which the model may move the first word.
            assert word.start == pytest.approx(alone.start, abs=0.4)
        assert all(plain(one.text) == plain(" ".join(word.text for word in one.words)) for one in results)


def test_joined_noise_gets_no_text(engine: Recognizer) -> None:
    assert isinstance(engine, BatchRecognizer)
    speech = sample("phone-call.wav").at_engine_rate
    noise = np.random.default_rng(1).standard_normal(3 * SAMPLE_RATE).astype(np.float32) * 0.01
    (results,) = engine.recognize_batch([[speech, noise]])
    assert plain(results[0].text) == plain(engine.recognize(speech, final=True).text)
    assert not plain(results[1].text)


@pytest.mark.parametrize(
    ("device", "compute_type"), [("cpu", "int9"), pytest.param("cuda", "", marks=pytest.mark.skipif(GPU, reason="GPU"))]
)
def test_a_device_or_number_type_that_cannot_be_used_names_its_setting(
    engine: Recognizer, device: str, compute_type: str
) -> None:
    with pytest.raises(SettingsError, match=f"STT_SERVER_DEVICE={device}.*unset both"):
        recognizers.load(settings.load({}, server_device=device, server_compute_type=compute_type))


def test_the_device_auto_is_the_processor_without_a_gpu(engine: Recognizer) -> None:
    loaded = recognizers.load(settings.load({}, server_device="auto"))
    try:
        assert isinstance(loaded, BatchRecognizer)
        assert (loaded.batch_size == 1) == (not GPU)
    finally:
        loaded.close()
