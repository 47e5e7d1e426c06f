"""Memory does not grow with the length of the file."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import audiofiles
from tests.support.audiofiles import Coding, write_blocks, write_words
from tests.support.pipeline_run import KEY, tone_service
from tests.support.tones import speech
from worker.settings import Settings


async def measured(source: Path, settings: Settings) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.support.measured_run", str(source), settings.url, KEY, str(source.parent)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(out)
    assert result["sent_s"] == result["duration_s"]
    return result


def silence(path: Path, hours: float, rate: int, coding: Coding) -> Path:
    block = np.zeros(rate * 60, dtype=np.float32)
    return write_blocks(path, (block for _ in range(int(hours * 60))), rate, coding)


async def grown_mb(short: Path, long: Path) -> float:
    """Return how many MB more peak memory a long file needs than a short file. The memory of the transcript is not
    included."""
    async with tone_service() as settings:
        one = await measured(short, settings)
        other = await measured(long, settings)
    sizes = [run["peak_kb"] - run["transcript_kb"] for run in (one, other)]
    print(one, other)  # noqa: T201 - shown with -s and on failure
    return float(sizes[1] - sizes[0]) / 1024


async def test_a_silent_half_hour_needs_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    short = silence(tmp_path / "short.wav", 1 / 60, 8000, audiofiles.MULAW)
    long = silence(tmp_path / "long.wav", 0.5, 8000, audiofiles.MULAW)
    assert await grown_mb(short, long) < 20


@pytest.mark.bench
@pytest.mark.timeout(900)
async def test_ten_hours_of_speech_need_no_more_memory_than_a_minute(tmp_path: Path) -> None:
    short = write_words(tmp_path / "short.flac", list(speech(60)), 16000, audiofiles.FLAC)
    long = write_words(tmp_path / "long.flac", list(speech(36_000)), 16000, audiofiles.FLAC)
    grown = await grown_mb(short, long)
    assert grown < 20, f"{grown:.1f} MB"
