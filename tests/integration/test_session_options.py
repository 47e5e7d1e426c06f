"""Options of `start-session` against services that confirm, ignore or refuse them: every word once in all cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.audiofiles import WAV, write_words
from tests.support.pipeline_run import assert_said, shorten_sections, tone_service, transcribe
from tests.support.tones import speech

OPTIONS = {"language_code": "yue", "no_verbatim": True}


@pytest.mark.parametrize(
    ("faults", "results"),
    [
        (["confirm-options"], ["confirmed", "confirmed"]),
        ([], ["changed", "unconfirmed"]),
        (["confirm-options", "refuse-option=no_verbatim"], ["confirmed", "refused"]),
        (["refuse-option=no_verbatim", "drop=3:2"], ["changed", "refused"]),
    ],
    ids=["confirmed", "ignored", "refused", "refused, then a lost connection"],
)
@pytest.mark.parametrize("sections", [1, 3])
async def test_the_transcript_records_what_became_of_each_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: Sequence[str], results: Sequence[str], sections: int
) -> None:
    shorten_sections(monkeypatch, 3.0)
    words = list(speech(14.0, seed=7))
    path = write_words(tmp_path / "call.wav", words, 16000, WAV)
    async with tone_service(*faults) as settings:
        transcript = await transcribe(path, settings, sessions=sections, session_options=OPTIONS)
    assert_said(transcript, words)
    assert [option.result for option in transcript.session_options] == results
    problems = [warning for warning in transcript.warnings if "session option" in warning]
    assert len(problems) == sum(result != "confirmed" for result in results)


async def test_without_options_nothing_is_recorded(tmp_path: Path) -> None:
    words = list(speech(4.0, seed=8))
    path = write_words(tmp_path / "call.wav", words, 16000, WAV)
    async with tone_service("confirm-options") as settings:
        transcript = await transcribe(path, settings)
    assert_said(transcript, words)
    assert transcript.session_options == ()
