"""Subtitles of real recordings (in the folder `STT_TEST_AUDIO`) are complete and within the limits."""

from __future__ import annotations

import re

import pytest
from wcwidth import wcswidth

from tests.evaluate import corpus
from tests.unit.transcript.build import segment, transcript
from worker.transcript.subtitles.cjk_spacing import tidy
from worker.transcript.subtitles.cue_timing import cues
from worker.transcript.subtitles.style import PRESETS, Preset, Style

FOUND = [
    recording
    for language in ("yue", "zh", "en")
    if (corpus.folder() / "manifest.json").is_file()
    for recording in corpus.load(corpus.folder(), language)
]

pytestmark = pytest.mark.skipif(not FOUND, reason=f"no recordings in {corpus.folder()}; set STT_TEST_AUDIO")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("recording", FOUND, ids=lambda recording: recording.path.name)
@pytest.mark.gate_sample(3)
def test_real_speech_is_shown_completely_and_within_the_limits(recording: corpus.Recording, preset: Preset) -> None:
    words = re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", recording.reference)
    said = transcript(segment(recording.reference, 0.0, recording.duration_s, words=words))
    style = Style(preset=preset)
    result = list(cues(said, style))
    assert "".join("".join(line for line in cue.lines) for cue in result).replace(" ", "") == tidy(
        recording.reference
    ).replace(" ", "")
    for cue in result:
        assert style.rules.min_ms <= cue.end_ms - cue.start_ms <= style.rules.max_ms
        limit = style.rules.cjk_columns if re.search(r"[\u4e00-\u9fff]", "".join(cue.lines)) else style.rules.columns
        assert all(wcswidth(line) <= limit for line in cue.lines)
