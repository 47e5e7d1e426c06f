"""The noise floor of a long pause, whatever parts of it were asked for before."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import sounds, tones
from worker.audio.background_noise import Foreground
from worker.audio.level_bytes import encode_levels
from worker.audio.pcm_frames import to_pcm16
from worker.audio.voice_activity import ForegroundRuns, VoiceActivityMap, frames_with_voice

RATE = 16000
SPEECH_S = 20.0
LENGTH_S = 70.0

Query = tuple[float, float, float]
"""Seconds sent before a query, and its range."""


def answers(*queries: Query, speech_first: bool = True) -> list[ForegroundRuns]:
    """Answer queries about speech with a noise of -45 dBFS, and a long pause with the same noise after or before it."""
    signal = sounds.noise(LENGTH_S, -45)
    speech = tones.encode(tones.speech(SPEECH_S), RATE, duration_s=SPEECH_S)
    place = slice(0, len(speech)) if speech_first else slice(len(signal) - len(speech), len(signal))
    signal[place] += speech
    pcm = to_pcm16(signal.astype(np.float32)).tobytes()
    frames = frames_with_voice((pcm[at : at + RATE] for at in range(0, len(pcm), RATE)), 0, RATE, RATE // 2)
    voice, sent_s, found = VoiceActivityMap(RATE), 0.0, []
    for until_s, start_s, end_s in queries:
        while sent_s < until_s and (frame := next(frames, None)):
            voice.add(frame)
            sent_s = (frame.file_start + frame.samples) / RATE
        found.append(voice.foreground_s(start_s, end_s))
    return found


AT_ONCE: list[Query] = [(65.0, 21.0, 65.0)]
IN_STEPS: list[Query] = [(21.5, 10.0, 21.5), (36.5, 21.0, 36.5), (51.5, 35.0, 51.5), (65.0, 50.0, 65.0)]
WITHOUT_SPEECH_FIRST: list[Query] = [(51.5, 40.0, 51.5), (65.0, 21.0, 65.0)]


@pytest.mark.parametrize("queries", [AT_ONCE, IN_STEPS, WITHOUT_SPEECH_FIRST])
def test_a_long_pause_after_speech_is_noise(queries: list[Query]) -> None:
    last = answers(*queries)[-1]
    assert last.certain
    assert last.noisy
    assert last.runs == []


def test_a_long_pause_before_speech_is_noise() -> None:
    first, second = answers((45.0, 0.0, 45.0), (70.0, 0.0, 45.0), speech_first=False)
    assert not first.certain, "nothing shows yet that the noise is much weaker than speech"
    assert second.certain
    assert second.runs == []


def test_noise_of_another_level_is_not_compared_with_the_pause_before_it() -> None:
    signal = np.concatenate([sounds.noise(40.0, -55), sounds.noise(30.0, -45)])
    speech = tones.encode(tones.speech(SPEECH_S), RATE, duration_s=SPEECH_S)
    signal[: len(speech)] += speech
    pcm = to_pcm16(signal.astype(np.float32)).tobytes()
    voice = VoiceActivityMap(RATE)
    for frame in frames_with_voice([pcm], 0, RATE, RATE // 2):
        voice.add(frame)
    assert not voice.foreground_s(50.0, 65.0).certain


WINDOW = RATE // 100


def random_levels(rng: np.random.Generator, windows: int) -> bytes:
    """Return random levels, in which pauses with noise alternate with speech. The noise becomes louder or weaker from
    time to time."""
    dbfs, at, noise = np.empty(windows), 0, rng.uniform(-60, -35)
    while at < windows:
        part = dbfs[at : at + int(rng.integers(30, 400))]
        kind = rng.random()
        noise = rng.uniform(-60, -35) if kind > 0.85 else noise
        part[:] = rng.normal(rng.uniform(-25, -12), 6, len(part)) if kind < 0.4 else rng.normal(noise, 0.7, len(part))
        at += len(part)
    return encode_levels((10 ** (np.clip(dbfs, -90, -1) / 10) * 32768**2).astype(np.float32))


@pytest.mark.parametrize("seed", range(12))
def test_a_query_depends_only_on_the_audio_that_was_added(seed: int) -> None:
    """The thresholds near the end of the audio are kept until more audio is added, or sent again with other levels."""
    rng = np.random.default_rng(seed)
    levels, asked, sent = random_levels(rng, 9000), Foreground(WINDOW), 0
    while sent < 9000:
        count = int(rng.integers(50, 400))
        asked.add(sent * WINDOW, levels[sent : sent + count])
        sent = min(9000, sent + count)
        start = max(0, sent - 500)
        fresh = Foreground(WINDOW)
        fresh.add(0, levels[:sent])
        expected = fresh.runs(start * WINDOW, sent * WINDOW)
        assert asked.runs(start * WINDOW, sent * WINDOW) == expected
        asked.forget_before((sent - 1000) * WINDOW)
        assert asked.runs(start * WINDOW, sent * WINDOW) == expected
        if rng.random() < 0.2:
            sent = max(0, sent - int(rng.integers(1, 300)))
