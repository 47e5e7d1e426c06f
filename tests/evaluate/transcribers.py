"""Transcribes recordings in several ways that are compared: with the product, and with the recognizer alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tasks.embedded.recognizer_choice import for_language
from tests.evaluate.corpus import Recording
from worker import settings as settings_module
from worker.server import recognizers
from worker.server.endpointing import endpointing_rules
from worker.server.recognizers import SAMPLE_RATE, Samples, model_files
from worker.server.speech_segmenter import SpeechSegmenter


@dataclass(frozen=True, slots=True)
class Heard:
    """The result of one recording. `words`: (text, start in seconds of the file)."""

    text: str
    words: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """The results of one transcriber for all recordings, by file name."""

    name: str
    heard: dict[str, Heard]
    seconds: float


def through_product(
    recordings: Sequence[Recording], *, speed: str, sessions: int, sections: int = 1, skip_silence: bool = False
) -> Run:
    """Transcribe with `stt-batch run` and its embedded service, in a separate process, and read the transcripts from
    the files. `sections`: maximum number of sections of a file at the same time."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stt-evaluate-") as folder:
        command = [
            sys.executable, "-c", "from tasks.cli import main; main()", "run",
            *(str(recording.path) for recording in recordings),
            "--out", folder, "--speed", speed, "--sessions", str(sessions), "--format", "json", "--json",
        ]  # fmt: skip
        environment = os.environ | {"STT_JOB_MAX_SESSIONS": str(sections), "STT_SKIP_SILENCE": str(skip_silence)}
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=environment
        )
        found = (json.loads(path.read_text(encoding="utf-8")) for path in Path(folder).glob("*.json"))
        documents = [document for document in found if "segments" in document]  # not the summary of the run
    heard = {
        document["source"]["name"]: Heard(
            text=" ".join(segment["text"] for segment in document["segments"]),
            words=tuple((w["text"], w["start"]) for segment in document["segments"] for w in segment["words"]),
        )
        for document in documents
    }
    missing = sorted({recording.path.name for recording in recordings} - set(heard))
    if done.returncode or missing:
        raise RuntimeError(f"stt-batch run ended with {done.returncode}, without {missing}:\n{done.stderr[-4000:]}")
    name = f"stt-batch run --speed {speed}" + (f", {sections} sections" if sections > 1 else "")
    return Run(name + (", silence skipped" if skip_silence else ""), heard, time.monotonic() - began)


def on_segments(recordings: Sequence[Recording], language: str = "") -> Run:
    """Call the recognizer of the service directly, on the segments that the service's endpointer finds in the whole
    file. No sockets, frames, pacing or client are used."""
    config = settings_module.load()
    if language:
        config = for_language(config, language)
    recognizer = recognizers.load(config)
    began = time.monotonic()
    heard = {}
    for recording in recordings:
        samples = whole_file(recording.path)
        segmenter = SpeechSegmenter(SAMPLE_RATE, recognizer.voice_detector(), endpointing_rules(config))
        pcm = np.clip(np.rint(samples * 32767), -32768, 32767).astype("<i2")
        texts, words = [], []
        for utterance in [*segmenter.process(pcm), *segmenter.finish()]:
            for offset_s, piece in utterance.pieces:
                found = recognizer.recognize(piece, final=True)
                texts.append(found.text)
                words += [(word.text, utterance.start_s + offset_s + word.start) for word in found.words]
        heard[recording.path.name] = Heard(" ".join(texts), tuple(words))
    recognizer.close()
    return Run("recognizer on the same segments", heard, time.monotonic() - began)


def on_whole_files(recordings: Sequence[Recording]) -> Run:
    """Transcribe whole files with `transcribe` of faster-whisper (beam 5), as users would do without this project."""
    from faster_whisper import WhisperModel

    config = settings_module.load()
    model = WhisperModel(
        str(model_files.find(config.model, model_files.cache_folder(config.server_model_cache))),
        device="cpu",
        compute_type="int8",
    )
    began = time.monotonic()
    heard = {}
    for recording in recordings:
        segments, _ = model.transcribe(whole_file(recording.path), language="en", beam_size=5, word_timestamps=True)
        parts = list(segments)
        heard[recording.path.name] = Heard(
            " ".join(part.text.strip() for part in parts),
            tuple((word.word.strip(), word.start) for part in parts for word in part.words or ()),
        )
    return Run("recognizer on whole files", heard, time.monotonic() - began)


def whole_file(path: Path) -> Samples:
    """Return all samples of a file, mixed to mono, at 16 kHz. Read and resampled at once, not in blocks as in the
    product."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = np.mean(samples, axis=1)
    result: Samples = mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE, quality="HQ")
    return result


def joined(recordings: Sequence[Recording], folder: Path) -> Recording:
    """Write all recordings into one long file in `folder`, with 2 s of silence between them."""
    path = folder / "joined.wav"
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
        for recording in recordings:
            file.write(whole_file(recording.path))
            file.write(np.zeros(2 * SAMPLE_RATE, np.float32))
        duration_s = file.tell() / SAMPLE_RATE
    return Recording(path, " ".join(recording.reference for recording in recordings), duration_s, ())
