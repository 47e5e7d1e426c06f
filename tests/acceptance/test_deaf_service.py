"""A service stops transcribing without an error. The lost words are transcribed in a second session, or reported as
missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.support.audiofiles import write_signal, write_words
from tests.support.mediafiles import MEDIA, write_media
from tests.support.pipeline_run import MemoryLog, assert_said, shorten_sections, tone_service, transcribe
from tests.support.tone_recognizer import ToneSpeechDetector
from tests.support.tones import ToneWord, encode, speech
from worker.audio.channel_selection import ChannelSelection
from worker.audio.frame_feed import FrameFeed
from worker.audio.recording import Recording
from worker.audio.resample import Samples
from worker.pipeline.job import ResumeState
from worker.transcript.model import SectionFacts, Transcript, UnansweredSound

LENGTH_S = 20.0
SPOKEN = list(speech(LENGTH_S, seed=31))
LONG_S = 60.0
SPOKEN_LONG = list(speech(LONG_S, seed=11))
SAMPLES = Path(__file__).parents[1] / "samples"
SHORT_TAIL = {"STT_TAIL_SILENCE_MAX_S": "3", "STT_TAIL_SILENCE_MIN_S": "1"}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pipeline.session_sequence.BACKOFF_S", (0.01, 0.05))


@pytest.fixture
def tones_are_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pipeline.run.silero", ToneSpeechDetector)


class NoSpeech(ToneSpeechDetector):
    """A detector that finds no speech."""

    def __call__(self, samples: Samples) -> Samples:
        return np.zeros_like(super().__call__(samples))


@pytest.fixture
def nothing_is_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.pipeline.run.silero", NoSpeech)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of the sections whose audio was opened again."""
    numbers: list[int] = []
    second_feed = Recording.second_feed

    def counted(recording: Recording, number: int, frame_samples: int) -> FrameFeed:
        numbers.append(number)
        return second_feed(recording, number, frame_samples)

    monkeypatch.setattr(Recording, "second_feed", counted)
    return numbers


@pytest.fixture
def spoken() -> list[ToneWord]:
    return SPOKEN


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("deaf") / "speech.wav", SPOKEN, 16000, duration_s=LENGTH_S)


@pytest.fixture(scope="module")
def three_sections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("deaf") / "long.wav"
    return write_words(path, SPOKEN_LONG, 16000, duration_s=LONG_S)


@pytest.fixture
def _short_sections(monkeypatch: pytest.MonkeyPatch) -> None:
    shorten_sections(monkeypatch, 12.0)


def texts(words: Sequence[ToneWord]) -> list[str]:
    return [word.text for word in words]


def lost(transcript: Transcript, words: Sequence[ToneWord]) -> list[ToneWord]:
    heard = set(transcript.text.split())
    return [word for word in words if word.text not in heard]


def assert_named(transcript: Transcript, words: Sequence[ToneWord]) -> None:
    """Assert that every word that is missing in the text is within a part that is reported as missing."""
    gaps = transcript.coverage.missing
    for word in lost(transcript, words):
        assert any(gap.start - 0.1 <= word.start and word.end <= gap.end + 0.1 for gap in gaps), word


# -- deaf in one session ---------------------------------------------------------------------------------------------

ONCE = [
    ["deaf=0:1"],
    ["deaf=8:1"],
    ["deaf=16:1"],
    ["deaf=5-14:1"],
    ["deaf=8:1", "repeat-partial"],
    ["deaf=8:1", "empty-commits"],
    ["deaf=8:1", "echo", "triplicate", "timed-first"],
    ["deaf=8:1", "close-code=1000"],
    ["deaf=8:1", "close-code=1005"],
    ["deaf=8:1", "close-code=1011"],
    ["deaf=8:1", "forget-tail"],
    ["deaf=8:1", "forget-tail", "repeat-partial", "close-code=1006"],
    ["never-commit=8:1", "forget-tail"],
]


@pytest.mark.parametrize("faults", ONCE, ids="+".join)
@pytest.mark.gate_sample(2)
async def test_the_missing_words_come_in_a_second_session(
    recording: Path, spoken: list[ToneWord], faults: list[str]
) -> None:
    async with tone_service(*faults, **SHORT_TAIL) as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert transcript.coverage.complete
    assert transcript.coverage.unanswered == ()
    first, again = transcript.sessions
    assert (first.start, first.end) == (0.0, LENGTH_S)
    if faults[0].startswith("deaf=5-14"):
        assert again.start >= 4
        assert again.end <= 16


async def test_without_word_times_nothing_is_lost_or_doubled(recording: Path, spoken: list[ToneWord]) -> None:
    async with tone_service("deaf=8:1", "plain-only") as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.text.split() == texts(spoken)


async def test_a_service_that_stops_transcribing_in_each_session_advances_with_each(
    recording: Path, spoken: list[ToneWord]
) -> None:
    async with tone_service("deaf=8") as settings:
        transcript = await transcribe(recording, settings)
    assert_said(transcript, spoken)
    assert len(transcript.sessions) == 3


@pytest.mark.parametrize("faults", [["deaf=0:1"], ["deaf=2:1"], ["deaf=2:1", "repeat-partial"]], ids="+".join)
async def test_missing_words_are_found_in_real_time(tmp_path: Path, faults: list[str]) -> None:
    words = list(speech(4.5, seed=2))
    source = write_words(tmp_path / "short.wav", words, 16000)
    async with tone_service(*faults) as settings:
        transcript = await transcribe(source, settings, speed=1.0)
    assert_said(transcript, words)
    assert len(transcript.sessions) == 2


@pytest.mark.usefixtures("_short_sections")
@pytest.mark.parametrize("speed", [12.0, math.inf])
async def test_missing_words_of_one_section_are_found(three_sections: Path, speed: float) -> None:
    log = MemoryLog()
    async with tone_service("deaf=6:2") as settings:
        transcript = await transcribe(three_sections, settings, sessions=3, speed=speed, log=log)
    assert_said(transcript, SPOKEN_LONG)
    assert len(transcript.coverage.sections) == 3
    assert len(transcript.sessions) == 4
    assert sorted(log.done) == [0, 1, 2]


async def test_missing_words_of_one_channel_are_found(tmp_path: Path) -> None:
    one, other = list(speech(20, seed=1)), [ToneWord(w.number + 6000, w.start) for w in speech(20, seed=2)]
    signal = np.stack([encode(words, 8000, duration_s=21) for words in (one, other)], axis=1)
    source = write_signal(tmp_path / "call.wav", signal, 8000)
    async with tone_service("deaf=6:2") as settings:
        transcript = await transcribe(source, settings, channels=ChannelSelection("split"))
    for name, words in (("1", one), ("2", other)):
        segments = tuple(s for s in transcript.segments if s.channel == name)
        assert_said(transcript.model_copy(update={"segments": segments}), words)
    assert len(transcript.sessions) == 3


async def test_skipped_silence_is_not_streamed_again(tmp_path: Path) -> None:
    words = [*speech(9, seed=8), *(ToneWord(w.number + 500, w.start + 40) for w in speech(9, seed=9))]
    source = write_words(tmp_path / "pause.wav", words, 16000, duration_s=50)
    async with tone_service("deaf=5:1", STT_SPEECH_DETECTOR="level") as settings:
        transcript = await transcribe(source, settings, skip_silence=True)
    assert_said(transcript, words)
    assert transcript.coverage.skipped
    assert transcript.coverage.unanswered == ()


async def test_short_pauses_with_noise_do_not_open_the_source_again(
    tmp_path: Path, spoken: list[ToneWord], opened: list[int]
) -> None:
    noise = np.random.default_rng(0).standard_normal(round(LENGTH_S * 16000)).astype(np.float32) * 0.01
    source = write_signal(tmp_path / "noisy.wav", encode(spoken, 16000, duration_s=LENGTH_S) + noise, 16000)
    async with tone_service() as settings:
        assert_said(await transcribe(source, settings), spoken)
    assert opened == []
    # In noise, the first session commits the words before and after the gap together. Their segment is divided.
    async with tone_service("deaf=5-14:1") as settings:
        assert_said(await transcribe(source, settings), spoken)
    assert opened == [0]


@pytest.mark.usefixtures("nothing_is_speech")
@pytest.mark.parametrize(
    ("name", "speed", "bursts"),
    [
        ("webm-opus", math.inf, False),
        ("webm-opus", math.inf, True),
        ("m4a-aac", math.inf, True),
        ("m4a-aac", 1.0, False),
    ],
)
async def test_sound_at_the_end_is_examined_without_decoding_again(
    tmp_path: Path, name: str, speed: float, bursts: bool, opened: list[int]
) -> None:
    media = next(media for media in MEDIA if media.name == name)
    words = list(speech(2, seed=5))
    noise = np.random.default_rng(0).standard_normal(4 * media.rate).astype(np.float32) * 0.1
    noise[: round(2.2 * media.rate)] = 0
    if bursts:
        noise *= np.arange(len(noise)) // round(0.3 * media.rate) % 2
    sound = encode(words, media.rate, duration_s=4) + noise
    async with tone_service() as settings:
        found = await transcribe(write_media(tmp_path / f"a.{media.ending}", sound, media), settings, speed=speed)
        # Bursts may be speech, so they are streamed again.
        assert len(opened) == bursts
        stored = await transcribe(write_signal(tmp_path / "a.wav", sound, media.rate), settings, speed=speed)
    assert len(opened) == bursts + 1  # any part of a WAV file can be read
    assert_said(found, words, 0.1)
    assert len(found.coverage.unanswered) == len(stored.coverage.unanswered) == bursts
    for one, other in zip(found.coverage.unanswered, stored.coverage.unanswered, strict=True):
        assert one.sound == other.sound
        assert abs(one.start - other.start) < 0.1
        assert abs(one.end - other.end) < 0.1


# -- deaf permanently ------------------------------------------------------------------------------------------------

FOR_GOOD = [
    ["deaf=0"],
    ["deaf=0", "empty-commits"],
    ["deaf=0", "repeat-partial"],
    ["deaf=0", "close-code=1005"],
    ["deaf=0", "forget-tail", "close-code=1000"],
    ["deaf=8:1", "deaf=0:2-99"],
    ["deaf=16:1", "deaf=0:2-99"],
    ["deaf=5-14:1", "deaf=0:2-99"],
]


@pytest.mark.usefixtures("tones_are_speech")
@pytest.mark.parametrize("faults", FOR_GOOD, ids="+".join)
async def test_speech_without_text_is_missing(recording: Path, spoken: list[ToneWord], faults: list[str]) -> None:
    async with tone_service(*faults, **SHORT_TAIL) as settings:
        transcript = await transcribe(recording, settings)
    assert not transcript.coverage.complete
    assert lost(transcript, spoken)
    assert_named(transcript, spoken)
    (stretch,) = transcript.coverage.unanswered
    assert (stretch.sound, stretch.sessions) == ("speech", 2)
    assert stretch.reason.endswith("also when it was streamed again")
    assert len(transcript.sessions) == 2


@pytest.mark.usefixtures("tones_are_speech")
async def test_a_second_session_that_fails_is_the_reason(recording: Path, spoken: list[ToneWord]) -> None:
    async with tone_service("deaf=8:1", "http=503:2-99", STT_SESSION_RETRIES="1") as settings:
        transcript = await transcribe(recording, settings)
    assert_named(transcript, spoken)
    (gap,) = transcript.coverage.missing
    assert "HTTP 503" in gap.reason
    assert transcript.session_failure == gap.reason


async def test_without_a_speech_detector_sound_without_text_is_a_warning(recording: Path) -> None:
    async with tone_service("deaf=8:1", "deaf=0:2-99", STT_SPEECH_DETECTOR="level") as settings:
        transcript = await transcribe(recording, settings)
    assert transcript.coverage.complete
    (stretch,) = transcript.coverage.unanswered
    assert stretch.sound == "unknown"
    assert 8 <= stretch.start < 9
    assert stretch.end == pytest.approx(LENGTH_S, abs=0.6)
    (warning,) = transcript.warnings
    assert warning.startswith("the service gave no text for 11.")


async def test_real_speech_without_text_is_missing() -> None:
    """The tone recognizer does not recognize voices."""
    pytest.importorskip("faster_whisper")
    async with tone_service() as settings:
        transcript = await transcribe(SAMPLES / "news.flac", settings)
    assert transcript.text == ""
    assert not transcript.coverage.complete
    missing_s = sum(gap.end - gap.start for gap in transcript.coverage.missing)
    assert missing_s > 0.7 * transcript.coverage.duration


async def test_noise_is_listed_and_not_streamed_twice(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    noise = np.random.default_rng(3)
    swell = 0.03 * (1.5 + np.sin(2 * np.pi * 0.7 * np.arange(16000 * 12) / 16000))
    source = write_signal(tmp_path / "machine.wav", (noise.normal(0, 1, 16000 * 12) * swell).astype(np.float32), 16000)
    async with tone_service() as settings:
        transcript = await transcribe(source, settings)
    assert transcript.coverage.complete
    assert [(u.sound, u.sessions) for u in transcript.coverage.unanswered] == [("noise", 1)]
    assert transcript.warnings[0].endswith("the speech detector finds no speech in it")
    assert len(transcript.sessions) == 1


@pytest.mark.parametrize("level", [0.0, 0.0001, 0.001])
async def test_silence_and_hiss_need_no_text(tmp_path: Path, level: float) -> None:
    hiss = np.random.default_rng(5).normal(0, 1, 16000 * 10) * level
    source = write_signal(tmp_path / "hiss.wav", hiss.astype(np.float32), 16000)
    async with tone_service() as settings:
        transcript = await transcribe(source, settings)
    assert (transcript.warnings, transcript.coverage.unanswered, len(transcript.sessions)) == ((), (), 1)


# -- a worker that dies ----------------------------------------------------------------------------------------------


async def test_a_resumed_attempt_finds_the_sound_without_text_of_the_first_attempt(
    recording: Path, spoken: list[ToneWord]
) -> None:
    log = MemoryLog()
    async with tone_service("deaf=5-14:1") as settings:
        await transcribe(recording, settings, log=log)
    # It died during the second pass: only the commits of the first pass are in the ledger.
    first_pass = tuple(s for s in log.segments if s.end <= 6.2 or s.start >= 14)
    assert len(first_pass) < len(log.segments)
    async with tone_service() as settings:
        transcript = await transcribe(recording, settings, resume=ResumeState(None, {}, first_pass))
    assert_said(transcript, spoken)
    assert all(s.start >= 4 for s in transcript.sessions)


@pytest.mark.usefixtures("_short_sections")
async def test_a_finished_section_stores_its_sound_without_text(three_sections: Path) -> None:
    log, source = MemoryLog(), three_sections
    async with tone_service("deaf=12:1", "deaf=0:4-99") as settings:
        first = await transcribe(source, settings, sessions=3, log=log)
    assert first.coverage.unanswered
    facts = {n: SectionFacts.model_validate_json(f.model_dump_json()) for n, f in log.done.items()}
    async with tone_service() as settings:
        again = await transcribe(
            source, settings, sessions=3, resume=ResumeState(log.plans, facts, tuple(log.segments))
        )
    assert again.sessions == ()
    assert again.coverage.unanswered == first.coverage.unanswered
    assert again.warnings == first.warnings
    assert isinstance(again.coverage.unanswered[0], UnansweredSound)
