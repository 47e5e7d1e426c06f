"""Measures how many sessions and which speed a service sustains: increases the number of sessions, then the speed,
until text is missing or late."""

from __future__ import annotations

import math
import tempfile
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from tasks.batches.number_format import format_count
from tasks.doctor.finding import Finding, fail, ok, warn
from tasks.doctor.service import SampleResult, many
from worker.audio.decoding.decode import open_source
from worker.audio.pcm_frames import BYTES_PER_SAMPLE, wire_frames
from worker.errors import SttError
from worker.settings import Settings, show_speed

SPEEDS: Final = (2.0, 4.0, 8.0, 16.0, math.inf)
MAX_EXTRA_LATENCY_S: Final = 3.0
"""Maximum seconds by which commits may come later than with a single session."""
REPEATS: Final = 6
"""Number of repetitions of the sample in the file for the speed test."""
PAUSE_S: Final = 1.0


async def bench(settings: Settings, sample: Path, max_sessions: int) -> AsyncIterator[Finding]:
    """Measure with 1, 2, 4 … up to `max_sessions` sessions at speed 1, then with one session at increasing speeds.

    Each step lasts only for one sample, so the service may be slower under a longer load.
    """
    alone: float | None = None
    best, count = 0, 1
    why = ""
    while count <= max_sessions:
        results = await many(settings, sample, count)
        why = _trouble(results)
        latency_s = _latency(results)
        alone = latency_s if alone is None else alone
        if not why and latency_s > alone + MAX_EXTRA_LATENCY_S:
            why = f"commits came {latency_s:.1f} s after the speech, with one session {alone:.1f} s"
        if why:
            break
        best = count
        yield ok(
            "bench", f"{format_count(count, 'session')} at the same time: commits {latency_s:.1f} s after the speech"
        )
        count = min(count * 2, max_sessions) if count < max_sessions else max_sessions + 1
    if not best:
        yield fail("bench", f"one session failed: {why}")
        return
    limit = f"; {format_count(count, 'session')} failed: {why}" if why else " (the maximum of this test)"
    yield ok("bench", f"sustains {format_count(best, 'session')}{limit}")
    async for finding in _speeds(settings, sample):
        yield finding


async def _speeds(settings: Settings, sample: Path) -> AsyncIterator[Finding]:
    best, why = 1.0, ""
    with tempfile.TemporaryDirectory(prefix="stt-doctor-") as folder:
        path = Path(folder) / "sample.wav"
        duration_s = _repeat(sample, path, settings.sample_rate)
        for speed in SPEEDS:
            (result,) = await many(settings, path, 1, speed)
            why = _trouble([result])
            if why or isinstance(result, BaseException):
                break
            reached = duration_s / result.took_s
            best = max(best, reached)
            yield ok("bench", f"speed {show_speed(speed)}: {duration_s:.0f} s of audio in {result.took_s:.1f} s")
            if not math.isinf(speed) and reached < speed / 2:
                why = f"reached only {reached:.1f} times real time"
                break
    yield (warn if best == 1.0 else ok)("bench", f"reaches {best:.1f} times real time{_because(why)}")


def _because(why: str) -> str:
    return f"; the next speed failed: {why}" if why else ""


def _repeat(sample: Path, path: Path, rate: int) -> float:
    """Write the sample REPEATS times, with pauses, as a WAV file. Returns the length in seconds."""
    with open_source(sample) as source:
        pcm = b"".join(wire_frames(source, rate, rate))
    once = pcm + bytes(round(PAUSE_S * rate) * BYTES_PER_SAMPLE)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, BYTES_PER_SAMPLE, rate, 0, "NONE", ""))
        file.writeframes(once * REPEATS)
    return len(once) * REPEATS / BYTES_PER_SAMPLE / rate


def _trouble(results: list[SampleResult | BaseException]) -> str:
    for result in results:
        if isinstance(result, SttError):
            return str(result)
        if isinstance(result, BaseException):
            raise result
        if not result.whole:
            missing = [*result.transcript.failures, *(gap.reason for gap in result.transcript.coverage.missing)]
            return missing[0] if missing else "no word of the sample came back"
    return ""


def _latency(results: list[SampleResult | BaseException]) -> float:
    return max((result.latency_s for result in results if isinstance(result, SampleResult)), default=0.0)
