"""Makes the sample recordings again: `python -m tests.samples.make [FOLDER]`; needs hibari-tts (the extra `test`).

The same seed and the same versions of hibari-tts, soxr and libsndfile give the same files.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from tests.support import audiofiles
from tests.support.audiofiles import Coding

HERE = Path(__file__).parent
VOICE_RATE = 24000
LEAD_S = 0.4


@dataclass(frozen=True)
class Recording:
    """The text of a recording and its format. `pans`: gains of the channels; `hiss`: RMS level of the added noise."""

    name: str
    sentences: tuple[str, ...]
    sample_rate: int
    coding: Coding
    pans: tuple[float, ...]
    hiss: float
    pause_s: float
    seed: int


RECORDINGS = (
    Recording(
        name="phone-call.wav",
        sentences=(
            "Good morning, this is the front desk of the garden hotel.",
            "I would like to book a quiet room for Friday night, please.",
        ),
        sample_rate=8000,
        coding=audiofiles.MULAW,
        pans=(0.9,),
        hiss=0.001,
        pause_s=0.9,
        seed=1,
    ),
    Recording(
        name="news.flac",
        sentences=(
            "Heavy rain closed several roads in the northern valley this morning.",
            "And the weather for the weekend looks dry and sunny.",
        ),
        sample_rate=44100,
        coding=audiofiles.FLAC,
        pans=(0.9, 0.9),
        hiss=0.0,
        pause_s=0.8,
        seed=2,
    ),
    Recording(
        name="interview.mp3",
        sentences=(
            "So tell me, how did you become a teacher?",
            "My mother was a teacher, and I always loved her stories about the children.",
        ),
        sample_rate=24000,
        coding=audiofiles.MP3,
        pans=(0.9,),
        hiss=0.0005,
        pause_s=0.8,
        seed=3,
    ),
)


def make(recording: Recording, folder: Path) -> dict[str, object]:
    """Write the file. Returns its text and the times of the sentences in seconds."""
    from hibari import Hibari

    voice = Hibari()
    rng = np.random.default_rng(recording.seed)
    silence = np.zeros(round(LEAD_S * VOICE_RATE), dtype=np.float32)
    pause = np.zeros(round(recording.pause_s * VOICE_RATE), dtype=np.float32)
    parts, sentences = [silence], []
    for number, sentence in enumerate(recording.sentences):
        start = sum(map(len, parts)) / VOICE_RATE
        parts.append(np.asarray(voice(sentence, seed=recording.seed * 100 + number), dtype=np.float32))
        end = sum(map(len, parts)) / VOICE_RATE
        sentences.append({"text": sentence, "start": round(start, 2), "end": round(end, 2)})
        parts.append(pause)
    signal = soxr.resample(np.concatenate(parts), VOICE_RATE, recording.sample_rate)
    signal = signal / np.abs(signal).max() * 0.8 + rng.standard_normal(len(signal)) * recording.hiss
    channels = np.stack([signal * pan for pan in recording.pans], axis=1).astype(np.float32)
    audiofiles.write_signal(folder / recording.name, channels, recording.sample_rate, recording.coding)
    return {"text": " ".join(recording.sentences), "sentences": sentences}


def main(folder: Path = HERE) -> None:
    texts = {recording.name: make(recording, folder) for recording in RECORDINGS}
    (folder / "texts.json").write_text(json.dumps(texts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
