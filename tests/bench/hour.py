"""Streams a file of an hour in many sessions through a service that accepts audio in real time. Checks its words."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tasks import submit
from tests.bench.stack import stack
from tests.support import audiofiles
from tests.support.audiofiles import write_words
from tests.support.fleet import KEY, tone_server
from tests.support.tones import ToneWord, speech
from worker.transcript.model import Transcript

MORE_THAN_REAL_TIME = "overflow=1"  # audio more than 3 s ahead of real time ends the session with an error


def make(folder: Path, minutes: float) -> tuple[Path, list[ToneWord]]:
    """Write 44.1 kHz stereo FLAC with each word once. Returns the words with their times."""
    words = list(speech(minutes * 60, seed=7))
    path = folder / f"words-{minutes:g}min.flac"
    if not path.exists():
        write_words(path, words, 44100, audiofiles.FLAC, 2, duration_s=minutes * 60)
    return path, words


def run(folder: Path, minutes: float, sessions: int) -> dict[str, Any]:
    """Return the seconds from submission to the stored transcript in two cases: `sessions` sections at real time, and
    one session at full speed through a service without a speed limit."""
    path, words = make(folder, minutes)
    with tone_server(folder, MORE_THAN_REAL_TIME) as url:
        many, elapsed_s, cpu_s = _transcribe(url, path, speed="1", sessions=sessions)
    with tone_server(folder) as url:
        one, alone_s, _ = _transcribe(url, path, speed="max", sessions=1)
    heard = [word for segment in many.segments for word in segment.words]
    off = [abs(h.start - w.start) for h, w in zip(heard, words, strict=False)]
    return {
        "minutes": minutes,
        "sessions": sessions,
        "sections": len(many.coverage.sections),
        "elapsed_s": elapsed_s,
        "cpu_s": cpu_s,
        "one_session_at_max_s": alone_s,
        "words": len(words),
        "each_word_once": [w.text for w in heard] == [w.text for w in words],
        "words_as_in_one_session": _words(many) == _words(one),
        "most_off_s": max(off, default=0.0),
        "sessions_lost": len(many.failures),
    }


def _transcribe(url: str, path: Path, *, speed: str, sessions: int) -> tuple[Transcript, float, float]:
    with stack(url, api_key=KEY, speed=speed, worker_sessions=str(sessions)) as running:
        began = time.time()
        handle = submit(path, settings=running.settings)
        status = handle.wait(3600)
        document = handle.transcript()
        if status.state != "done" or document is None:
            raise RuntimeError(f"{path}: {status.state}: {status.error}")
        return Transcript.model_validate_json(document), (status.ended_at or 0.0) - began, running.cpu_s()


def _words(transcript: Transcript) -> list[str]:
    return [word.text for segment in transcript.segments for word in segment.words]
