"""Creates example segments and transcripts for tests."""

from __future__ import annotations

from worker.transcript.model import Coverage, Segment, Source, Transcript, Word


def a_segment(text: str = "hello there", start: float = 0.0, end: float = 1.0) -> Segment:
    return Segment(text=text, start=start, end=end, words=(Word(text=text, start=start, end=end, confidence=0.9),))


def a_transcript(job_id: str = "job", segments: tuple[Segment, ...] = ()) -> Transcript:
    return Transcript(
        job_id=job_id,
        text="\n".join(segment.text for segment in segments),
        segments=segments,
        source=Source(
            name="a.wav",
            path="/audio/a.wav",
            sha256="0" * 64,
            size_bytes=1,
            duration=2.0,
            sample_rate=16000,
            channels=1,
            format="WAV/PCM_16",
        ),
        coverage=Coverage(duration=2.0, sent=2.0, committed_until=1.0),
        created_at="2026-01-01T00:00:00Z",
        speed="1",
        elapsed=0.5,
        endpoint="http://127.0.0.1:1",
    )
