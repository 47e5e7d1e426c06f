"""A source is longer than the worker's limit, which is only detected while the source is sent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tests.support.audiofiles import write_signal
from tests.support.pipeline_run import MemoryLog, tone_service
from tests.unit.audio.test_size_limits import noise
from worker.errors import SourceRefused
from worker.pipeline.job import Job
from worker.pipeline.run import run
from worker.storage.address import from_path


async def test_what_is_longer_than_its_header_says(tmp_path: Path) -> None:
    """The header declares less audio than the file has, as in a WAV file that was still being written. The real length
    is found during the streaming."""
    path = write_signal(tmp_path / "a.wav", noise(30), 8000)
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = (8000 * 2 * 2).to_bytes(4, "little")
    path.write_bytes(data)
    async with tone_service(STT_SOURCE_MAX_HOURS=str(8 / 3600)) as settings:
        job = Job(id="j", source=from_path(path), speed=math.inf, language=None)
        log = MemoryLog()
        with pytest.raises(SourceRefused, match="STT_SOURCE_MAX_HOURS"):
            await run(job, settings=settings, log=log, listener=log)
