"""Runs one job in a separate process, and prints its cost in memory and CPU time as JSON.

python -m tests.support.measured_run SOURCE URL KEY OUT        OUT: folder for the transcript
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import sys
import time
from pathlib import Path

import structlog

from worker.job_progress import Progress
from worker.pipeline.job import Job
from worker.pipeline.run import run
from worker.settings import load
from worker.storage.address import from_path
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.model import SectionFacts, Segment, Transcript


class CountingLog:
    """A log and listener of a run that only counts the segments. It stores nothing, so that the cost is that of the
    pipeline alone."""

    segments = 0

    async def record_content(self, content: str, named: str) -> None: ...

    async def record_plans(self, plans: str) -> None: ...

    async def record_section(self, section: int, facts: SectionFacts) -> None: ...

    async def commit(self, segment: Segment) -> None:
        self.segments += 1

    def committed(self, segment: Segment) -> None: ...

    def progress(self, progress: Progress) -> None: ...


def peak_kb() -> int:
    """Return the peak memory of this process in KiB. The usual source, `ru_maxrss`, would include the memory of the
    parent process before the exec."""
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match.group(1))


def held_bytes(transcript: Transcript) -> int:
    """Return the bytes of memory that the segments and words of a transcript need in every run."""
    total = 0
    for segment in transcript.segments:
        total += sum(
            map(sys.getsizeof, (segment, segment.__dict__, segment.model_fields_set, segment.text, segment.words))
        )
        for word in segment.words:
            total += sum(map(sys.getsizeof, (word, word.text, word.start, word.end, word.confidence)))
    return total


async def main(source: str, url: str, key: str, folder: str) -> None:
    log = CountingLog()
    settings = load({"STT_URL": url, "STT_API_KEY": key})
    out = LocalOutputs(Path(folder), "measured", ("json", "srt", "vtt", "txt"))
    job = Job(id="measured", source=from_path(source), speed=math.inf, language=None)
    transcript = await run(job, settings=settings, log=log, listener=log)
    write(transcript, out)
    result = {
        "duration_s": transcript.source.duration,
        "sent_s": transcript.coverage.sent,
        "segments": log.segments,
        "peak_kb": peak_kb(),
        "transcript_kb": held_bytes(transcript) // 1024,
        "cpu_s": round(time.process_time(), 3),
        "elapsed_s": transcript.elapsed,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is for the figures
    asyncio.run(main(*sys.argv[1:5]))
