"""The noise floor of a long pause, whatever parts of it were asked for before."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import sounds, tones
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
