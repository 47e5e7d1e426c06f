"""Real recordings in many formats (folder `STT_TEST_AUDIO`) are decoded completely, without a warning."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from worker.audio.decoding.decode import open_source
from worker.audio.file_extensions import is_audio_name

FOLDER = Path(os.environ.get("STT_TEST_AUDIO") or Path(__file__).parents[4] / "shared" / "audio")
FILES = sorted(p for p in FOLDER.iterdir() if is_audio_name(p)) if FOLDER.is_dir() else []

pytestmark = pytest.mark.skipif(not FILES, reason=f"no recordings in {FOLDER}; set STT_TEST_AUDIO to a folder of some")


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
@pytest.mark.gate_sample(2)
def test_blocks_equal_the_recording_decoded_at_once(path: Path) -> None:
    expected = soundfile.read(path, dtype="float32", always_2d=True)[0].mean(axis=1)
    with open_source(path) as source:
        signal = np.concatenate(list(source.blocks()))
        assert source.warnings == ()
        assert source.frames_decoded == source.info.frames == len(signal)
    # The decoder delay, which libsndfile does not remove from an MP3 that does not declare it.
    delay = 1105 if path.suffix == ".mp3" and len(signal) < len(expected) else 0
    np.testing.assert_allclose(signal, expected[delay:], atol=1e-6)
