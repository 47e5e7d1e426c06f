"""Transcripts for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterable

from worker.transcript.model import Coverage, Segment, Source, Transcript, Word


def segment(text: str, start: float, end: float, *, words: Iterable[str] | None = None) -> Segment:
    """A segment whose words share its time evenly. Default words: the text split at spaces."""
    texts = text.split() if words is None else list(words)
    step = (end - start) / max(1, len(texts))
    timed = tuple(Word(text=t, start=start + k * step, end=start + (k + 1) * step) for k, t in enumerate(texts))
    return Segment(text=text, start=start, end=end, words=timed)


def transcript(*segments: Segment) -> Transcript:
    ends = [end for s in segments for end in (s.end, *(word.end for word in s.words))]
    duration = max([60, *(end + 60 for end in ends if end > 60)])
    return Transcript(
        job_id="job",
        language="en",
        text="\n".join(s.text for s in segments),
        segments=segments,
        source=Source(
            name="call.wav", path="in/call.wav", sha256="00", size_bytes=44, duration=duration, sample_rate=8000,
            channels=1, format="WAV/ULAW",
        ),
        coverage=Coverage(duration=60, sent=60, committed_until=59),
        created_at="2026-01-01T00:00:00+00:00",
        speed="1",
        elapsed=1.5,
        endpoint="http://127.0.0.1:8808",
    )  # fmt: skip
