"""Separately streamed channels: each word appears once, on its channel and at its time."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.evaluate import corpus
from tests.evaluate.score import total, word_errors
from tests.support.audiofiles import FLAC, MULAW, VORBIS, WAV, Coding, write_signal
from tests.support.mediafiles import MEDIA, write_media
from tests.support.pipeline_run import (
    KEY,
    TIME_TOLERANCE_S,
    MemoryLog,
    assert_said,
    limit_slowdown,
    shorten_sections,
    tone_service,
    transcribe,
)
from tests.support.tones import ToneWord, encode, speech
from worker.audio.channel_selection import ChannelSelection
from worker.audio.segmentation.channel_plans import NO_SOUND
from worker.errors import BadJob, ModelUnavailable, NoSuchChannel
from worker.pipeline.job import ResumeState
from worker.server import app, recognizers
from worker.settings import load
from worker.transcript.model import Transcript

CALL = corpus.folder() / "en_call_stereo_8k_mulaw.wav"
LENGTH_S = 40.0
SECTION_S = 12.0
"""Minimum length of a section in these tests, instead of a minute."""
PACE = 12.0
SPLIT = ChannelSelection("split")
NAMED = ChannelSelection("split", ("agent", "customer"))


def said_on(channels: int, length_s: float = LENGTH_S) -> list[list[ToneWord]]:
    """Different words on each channel, often at the same time."""
    return [
        list(speech(length_s - 1, seed=40 + number, numbers=itertools.count(1 + 6000 * number)))
        for number in range(channels)
    ]


WORDS = said_on(2)


def together(words: Sequence[Sequence[ToneWord]], rate: int, length_s: float = LENGTH_S) -> np.ndarray:
    return np.stack([encode(some, rate, duration_s=length_s) for some in words], axis=1)


@pytest.fixture(autouse=True)
def _short_sections() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        shorten_sections(patch, SECTION_S)
        yield


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calls")
    for coding, rate in ((WAV, 16000), (FLAC, 44100), (MULAW, 8000), (VORBIS, 44100)):
        write_signal(folder / f"{coding}.{coding.ending}", together(WORDS, rate), rate, coding)
    return folder


def of_channel(transcript: Transcript, name: str | None) -> Transcript:
    segments = tuple(s for s in transcript.segments if s.channel == name)
    return transcript.model_copy(update={"segments": segments})


def assert_split(transcript: Transcript, words: Sequence[Sequence[ToneWord]], names: Sequence[str]) -> None:
    for name, some in zip(names, words, strict=True):
        assert_said(of_channel(transcript, name), some)
    assert {s.channel for s in transcript.segments} <= set(names)
    starts = [s.start for s in transcript.segments]
    assert starts == sorted(starts)
    assert transcript.coverage.complete


@pytest.mark.parametrize("coding", [WAV, FLAC, MULAW, VORBIS], ids=str)
@pytest.mark.parametrize("sessions", [1, 5])
@pytest.mark.gate_sample(2)
async def test_each_word_appears_on_its_channel(calls: Path, coding: Coding, sessions: int) -> None:
    log = MemoryLog()
    async with tone_service() as service:
        transcript = await transcribe(
            calls / f"{coding}.{coding.ending}", service, sessions=sessions, channels=NAMED, log=log
        )
    assert_split(transcript, WORDS, ["agent", "customer"])
    coverage = transcript.coverage
    assert [(c.number, c.name, c.reason) for c in coverage.channels] == [(1, "agent", None), (2, "customer", None)]
    assert coverage.sent == pytest.approx(2 * LENGTH_S, abs=0.1)
    assert [c.sent for c in coverage.channels] == pytest.approx([LENGTH_S] * 2, abs=0.1)
    # Five sessions allow three sections per channel, but the file is only long enough for two.
    assert [s.channel for s in coverage.sections] == (
        ["agent", "customer"] if sessions == 1 else ["agent"] * 2 + ["customer"] * 2
    )
    last = log.reports[-1]
    assert (last.duration_s, last.sent_s) == pytest.approx((LENGTH_S, LENGTH_S), abs=0.1)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_single_channel_can_be_requested(calls: Path, number: int) -> None:
    async with tone_service() as service:
        transcript = await transcribe(calls / "flac.flac", service, channels=ChannelSelection(number))
    assert_said(transcript, WORDS[number - 1])
    assert {s.channel for s in transcript.segments} == {None}
    assert [(c.number, c.name) for c in transcript.coverage.channels] == [(number, None)]
    assert transcript.coverage.complete
    assert transcript.coverage.sent == pytest.approx(LENGTH_S, abs=0.1)


async def test_a_missing_channel_is_refused_with_its_number(calls: Path) -> None:
    async with tone_service() as service:
        with pytest.raises(NoSuchChannel, match=r"wav\.wav: has 2 channels, so there is no channel 3 to take"):
            await transcribe(calls / "wav.wav", service, channels=ChannelSelection(3))


async def test_a_silent_channel_is_not_streamed(tmp_path: Path) -> None:
    """Six channels: speech, digital silence, dither, the idle hiss of a line, speech, hum."""
    rate, length_s = 16000, 20.0
    first, fifth = said_on(2, length_s)
    count = round(rate * length_s)
    noise = np.random.default_rng(1)
    hum = 0.05 * np.sin(2 * np.pi * 50 * np.arange(count) / rate) + 0.01 * np.sin(
        2 * np.pi * 400 * np.arange(count) / rate
    )
    rows = [
        encode(first, rate, duration_s=length_s),
        np.zeros(count),
        noise.choice([-1, 0, 1], count) / 32768,
        noise.normal(0, 10 ** (-55 / 20), count),
        encode(fifth, rate, duration_s=length_s),
        hum,
    ]
    source = write_signal(tmp_path / "six.wav", np.stack(rows, axis=1).astype(np.float32), rate)
    async with tone_service() as service:
        transcript = await transcribe(source, service, sessions=4, channels=SPLIT)
        assert_split(of_channel(transcript, "1"), [first], ["1"])
        assert_split(of_channel(transcript, "5"), [fifth], ["5"])
        coverage = transcript.coverage
        assert [(c.sent, c.reason) for c in coverage.channels] == [
            (length_s, None), (0.0, NO_SOUND), (0.0, NO_SOUND),
            (0.0, NO_SOUND), (length_s, None), (0.0, NO_SOUND),
        ]  # fmt: skip
        assert coverage.complete
        assert coverage.sent == 2 * length_s
        assert [(s.start, s.end, s.channel) for s in coverage.skipped] == [(0.0, length_s, n) for n in "2346"]
        assert len(transcript.sessions) == 2

        silent = await transcribe(source, service, channels=ChannelSelection(2))
        assert silent.coverage.complete
        assert (silent.sessions, silent.text, silent.coverage.sent) == ((), "", 0.0)


async def test_silence_is_skipped_in_each_channel(tmp_path: Path) -> None:
    """One channel has speech in the first half, the other in the second half."""
    first, second = said_on(2, 15.0)
    late = [ToneWord(word.number, word.start + 25) for word in second]
    source = write_signal(tmp_path / "turns.flac", together([first, late], 16000, 40), 16000, FLAC)
    async with tone_service(STT_SPEECH_DETECTOR="level") as service:
        transcript = await transcribe(source, service, sessions=2, channels=SPLIT, skip_silence=True)
    assert_split(transcript, [first, late], ["1", "2"])
    assert transcript.coverage.sent < 38
    assert {s.channel for s in transcript.coverage.skipped} == {"1", "2"}
    assert transcript.saved is not None
    assert transcript.saved.minutes == pytest.approx((80 - 30) / 60, abs=0.15)


async def test_a_mono_file_needs_no_channel_split(tmp_path: Path) -> None:
    (words,) = said_on(1, 10.0)
    source = write_signal(tmp_path / "mono.wav", encode(words, 8000, duration_s=10.0), 8000)
    async with tone_service() as service:
        wanted = (SPLIT, NAMED, ChannelSelection(1, ("agent",)))
        plain, named, only = [await transcribe(source, service, channels=one) for one in wanted]
        for transcript in (plain, named, only):
            assert_said(transcript, words)
            assert transcript.coverage.missing == ()
        assert plain.coverage.channels == named.coverage.channels == ()
        assert [(c.number, c.name, c.reason) for c in only.coverage.channels] == [(1, "agent", None)]
        assert {s.channel for s in plain.segments} == {None} == {s.channel for s in named.segments}
        assert plain.warnings == ()
        assert named.warnings == ("has only one channel, so nothing was split; names were given for 2",)
        assert {s.channel for s in only.segments} == {"agent"}
        with pytest.raises(NoSuchChannel, match="has only one channel"):
            await transcribe(source, service, channels=ChannelSelection(2))


async def test_channels_of_files_that_libsndfile_cannot_open_are_split(tmp_path: Path) -> None:
    words = said_on(2, 10.0)
    for name in ("m4a-aac", "mka-pcm24"):
        media = next(m for m in MEDIA if m.name == name)
        source = write_media(tmp_path / f"a.{media.ending}", together(words, media.rate, 10.0), media)
        async with tone_service() as service:
            assert_split(await transcribe(source, service, channels=NAMED), words, NAMED.names)


@pytest.mark.parametrize("faults", [["drop=4:1,3,5"], ["mute=5:2"]], ids=lambda f: f[0])
async def test_a_broken_session_does_not_lose_words_of_its_channel(
    calls: Path, faults: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_slowdown(monkeypatch, 4.0)
    async with tone_service(*faults, STT_STALL_TIMEOUT_S="1.5") as service:
        transcript = await transcribe(calls / "flac.flac", service, sessions=4, channels=NAMED, speed=PACE)
    assert_split(transcript, WORDS, NAMED.names)


async def test_a_later_attempt_continues_in_each_channel(calls: Path) -> None:
    """In the first attempt, the service fails permanently in the middle of both channels."""
    first, second = MemoryLog(), MemoryLog()
    async with tone_service("drop=8:2-4", "http=503:4-99", STT_SESSION_RETRIES="0") as service:
        broken = await transcribe(calls / "vorbis.ogg", service, sessions=4, channels=NAMED, speed=PACE, log=first)
    assert not broken.coverage.complete
    assert {gap.channel for gap in broken.coverage.missing} == {"agent", "customer"}
    assert first.plans is not None
    assert [plan.channel for plan in first.plans] == [0, 1]
    resume = ResumeState(first.plans, first.done, tuple(s for s in first.segments if s.committed))
    async with tone_service() as service:
        # The plan stays the same with another number of sessions.
        whole = await transcribe(calls / "vorbis.ogg", service, sessions=1, channels=NAMED, resume=resume, log=second)
        assert second.plans is None
        assert_split(whole, WORDS, NAMED.names)
        assert sum(s.end - s.start for s in whole.sessions) < 2 * LENGTH_S * 0.8
        for other in (
            ChannelSelection(),
            ChannelSelection(2),
        ):
            with pytest.raises(BadJob, match=r"vorbis\.ogg: an earlier attempt used other channels"):
                await transcribe(calls / "vorbis.ogg", service, channels=other, resume=resume)
        mixed = ResumeState(None, {}, resume.committed)
        with pytest.raises(BadJob, match=r"vorbis\.ogg: an earlier attempt used other channels"):
            await transcribe(calls / "vorbis.ogg", service, channels=NAMED, resume=mixed)


async def test_without_disk_space_each_channel_is_streamed_in_one_section(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    log = MemoryLog()
    with monkeypatch.context() as patch:
        patch.setattr("worker.audio.pcm_spool.os.write", full)
        async with tone_service() as service:
            transcript = await transcribe(calls / "vorbis.ogg", service, sessions=4, channels=NAMED, log=log)
    assert_split(transcript, WORDS, NAMED.names)
    assert [s.channel for s in transcript.coverage.sections] == ["agent", "customer"]
    assert "No space left" in transcript.warnings[0]
    # A later attempt has the same sections, with or without disk space.
    assert log.plans is not None
    half = tuple(s for s in log.segments if s.end < LENGTH_S / 2)
    async with tone_service() as service:
        again = await transcribe(
            calls / "vorbis.ogg", service, channels=NAMED, resume=ResumeState(log.plans, {}, half), speed=math.inf
        )
    assert_split(again, WORDS, NAMED.names)
    assert max(abs(s.start - LENGTH_S / 2) for s in again.sessions) < 6 + TIME_TOLERANCE_S


@pytest.mark.recognizer
async def test_a_real_call_with_two_speakers() -> None:
    """Two speakers alternate on two channels of a telephone call. Uses the embedded recognizer."""
    if not CALL.exists():
        pytest.skip(f"{CALL} is not there (set STT_TEST_AUDIO to the folder of test recordings)")
    server_settings = load({"STT_API_KEY": KEY, "STT_SERVER_PORT": "0"})
    try:
        engine = recognizers.load(server_settings)
    except ModelUnavailable as exc:
        if os.environ.get("CI", "").lower() == "true":
            raise
        pytest.skip(str(exc))
    server = await app.start(server_settings, engine, [])
    try:
        await server.ready()
        service = load({"STT_API_KEY": KEY, "STT_URL": server.url})
        transcript = await transcribe(CALL, service, channels=NAMED)
    finally:
        await server.close()
    assert transcript.coverage.complete
    # Each utterance is one segment on its channel and at its time.
    listed = json.loads((CALL.parent / "manifest.json").read_text("utf-8"))["files"]
    (entry,) = (entry for entry in listed if entry["file"] == CALL.name)
    turns = entry["segments"]
    assert [s.channel for s in transcript.segments] == [NAMED.names[turn["channel"]] for turn in turns]
    for segment, turn in zip(transcript.segments, turns, strict=True):
        assert turn["start"] - 0.1 <= segment.start < segment.end <= turn["end"] + 0.1
    pairs = zip(turns, transcript.segments, strict=True)
    errors = total(word_errors(turn["text"], segment.text) for turn, segment in pairs)
    print(f"{errors.words} words, {errors.percent:.1f} % wrong")  # noqa: T201 - shown with -s
    assert errors.percent < 20
