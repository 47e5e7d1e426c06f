"""Sessions that fail in the silence after the last sample. A new session is opened only if text is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.audiofiles import WAV, write_words
from tests.support.pipeline_run import assert_said, tone_service, transcribe
from tests.support.tones import speech

WORDS_S = 1.5


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        ("drop=4.0:1", "dropped"),
        ("close=4.0:1", "closed"),
        ("error=transcriber_error@4.0:1", "error"),
        ("error=auth_error@4.0:1", "error"),
    ],
)
async def test_a_session_that_fails_after_the_last_commit_is_the_last_one(
    tmp_path: Path, fault: str, ended: str
) -> None:
    # The service commits the words in the silence at the end of the file, and fails half a second after that end.
    words = list(speech(WORDS_S, seed=7))
    path = write_words(tmp_path / "call.wav", words, 16000, WAV, duration_s=WORDS_S + 2.0)
    async with tone_service("forget-tail", fault) as settings:
        transcript = await transcribe(path, settings, speed=1.0)
    assert_said(transcript, words)
    assert [session.ended for session in transcript.sessions] == [ended]
    assert transcript.failures == ()


async def test_a_session_that_fails_before_the_last_commit_is_continued(tmp_path: Path) -> None:
    words = list(speech(WORDS_S, seed=7))
    path = write_words(tmp_path / "call.wav", words, 16000, WAV, duration_s=WORDS_S)
    async with tone_service("forget-tail", "commit-pause=1.5", "drop=2.0:1") as settings:
        transcript = await transcribe(path, settings, speed=1.0)
    assert_said(transcript, words)
    assert [session.ended for session in transcript.sessions] == ["dropped", "completed"]
