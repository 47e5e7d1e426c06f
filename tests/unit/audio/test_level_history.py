"""The loudness of a file for the drawing of its waveform: bounded in size, whatever the length and order of frames."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from worker.audio.level_history import MAX_LEVELS, LevelHistory, drawing
from worker.audio.voice_activity import frames_with_voice

RATE = 16000


def history(pcm: np.ndarray, start: int = 0, frame: int = 4000) -> LevelHistory:
    found = LevelHistory(RATE)
    chunks = [pcm[at : at + frame].astype("<i2").tobytes() for at in range(0, len(pcm), frame)]
    for one in frames_with_voice(chunks, start, RATE):
        found.add(one.file_start, one.levels)
    return found


def tone(seconds: float, dbfs: float) -> np.ndarray:
    times = np.arange(int(seconds * RATE)) / RATE
    return np.sqrt(2) * 32768 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * 440 * times)


def levels(*histories: LevelHistory, duration_s: float) -> list[int]:
    found = drawing(histories, duration_s)
    assert found is not None
    return list(base64.b64decode(found[1]))


def test_each_step_has_its_loudest_level() -> None:
    found = levels(history(np.concatenate([tone(1, -20), tone(1, -50), np.zeros(RATE)])), duration_s=3)
    assert len(found) == 30
    expected = [round(1 + (90 - 20) / 90 * 254), round(1 + (90 - 50) / 90 * 254)]
    assert found[2:8] == pytest.approx([expected[0]] * 6, abs=4)
    assert found[12:18] == pytest.approx([expected[1]] * 6, abs=4)
    assert found[22:28] == [1] * 6


@pytest.mark.parametrize("hours", [0.01, 1, 10, 100])
def test_the_size_is_bounded(hours: float) -> None:
    long = LevelHistory(RATE)
    long.add(int(hours * 3600 * RATE) - RATE, bytes([200] * 100))
    found = drawing([long], hours * 3600)
    assert found is not None
    step, text = found
    assert len(base64.b64decode(text)) <= MAX_LEVELS
    assert step * len(base64.b64decode(text)) == pytest.approx(hours * 3600, rel=0.01)
    assert base64.b64decode(text)[-1] > 1


def test_sections_in_any_order_and_repeated_frames_give_the_same_drawing() -> None:
    pcm = np.concatenate([tone(2, -20), tone(2, -40)])
    whole = levels(history(pcm), duration_s=4)
    parts = [history(pcm[2 * RATE :], 2 * RATE), history(pcm[: 2 * RATE])]
    assert levels(*parts, duration_s=4) == whole
    again = history(pcm)
    for one in frames_with_voice([pcm[:8000].astype("<i2").tobytes()], 0, RATE):
        again.add(one.file_start, one.levels)
    assert levels(again, duration_s=4) == whole


def test_audio_that_was_not_streamed_is_unknown() -> None:
    found = levels(history(tone(1, -20), start=5 * RATE), duration_s=10)
    assert found[:50] == [0] * 50
    assert min(found[50:60]) > 100
    assert found[61:] == [0] * 39
    assert drawing([LevelHistory(RATE)], 10) is None
    assert drawing([], 10) is None
