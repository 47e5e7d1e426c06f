"""The sample recordings exist, are short, match texts.json, and are recognized without an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.samples.make import HERE, RECORDINGS
from worker.audio.decoding.decode import open_source
from worker.audio.file_extensions import is_audio_name
from worker.audio.pcm_frames import wire_frames

TEXTS: dict[str, Any] = json.loads((HERE / "texts.json").read_text(encoding="utf-8"))


def pcm(path: Path) -> np.ndarray:
    with open_source(path) as source:
        data = b"".join(wire_frames(source, 16000, 4000))
        assert source.warnings == ()
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768


def test_the_folder_contains_the_files_of_texts_json() -> None:
    assert {p.name for p in HERE.iterdir() if is_audio_name(p)} == set(TEXTS) == {r.name for r in RECORDINGS}
    for recording in RECORDINGS:
        assert TEXTS[recording.name]["text"] == " ".join(recording.sentences)


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_sentences_are_at_their_annotated_times(name: str) -> None:
    signal = pcm(HERE / name)
    assert 6 <= len(signal) / 16000 <= 12
    speech = np.zeros(len(signal), dtype=bool)
    for sentence in TEXTS[name]["sentences"]:
        part = slice(round((sentence["start"] - 0.05) * 16000), round((sentence["end"] + 0.05) * 16000))
        speech[part] = True
        assert np.sqrt(np.mean(signal[part] ** 2)) > 0.02
    assert np.sqrt(np.mean(signal[~speech] ** 2)) < 0.005
