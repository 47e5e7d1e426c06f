"""Runs the pipeline with a service in the test's process, and compares the transcript with the spoken words."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from tests.support.tone_recognizer import load as tone_recognizer
from tests.support.tones import ToneWord
from worker.audio.channel_selection import ALL_MIXED, ChannelSelection
from worker.audio.segmentation.section_plan import StreamingPlan, read_plans
from worker.job_progress import Progress
from worker.pipeline import planning_thread
from worker.pipeline.job import Job, KnownContent, ResumeState
from worker.pipeline.run import run
from worker.pipeline.start_content import StartContent, read_start_content
from worker.realtime import rate_control
from worker.server import app
from worker.server.fault_options import parse
from worker.settings import Settings, load
from worker.storage import address
from worker.storage.outputs.local_files import LocalOutputs, write
from worker.transcript.model import SectionFacts, Segment, Transcript

KEY = "test-key"
TIME_TOLERANCE_S = 0.03


class MemoryLog:
    """A log and listener of a run that stores all entries in memory."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []
        self.reports: list[Progress] = []
        self.contents: list[StartContent] = []
        self.plans: tuple[StreamingPlan, ...] | None = None
        self.done: dict[int, SectionFacts] = {}

    async def record_content(self, content: str, named: str) -> None:
        self.contents.append(read_start_content(content))

    async def record_plans(self, plans: str) -> None:
        self.plans = read_plans(plans)

    async def record_section(self, section: int, facts: SectionFacts) -> None:
        self.done[section] = facts

    async def commit(self, segment: Segment) -> None:
        self.segments.append(segment)

    def committed(self, segment: Segment) -> None:
        assert segment in self.segments, "a segment is reported once it is durable"

    def progress(self, progress: Progress) -> None:
        self.reports.append(progress)


def shorten_sections(patch: pytest.MonkeyPatch, shortest_s: float) -> None:
    """Allow sections as short as `shortest_s` seconds, instead of a minute, so that a short file has several."""
    patch.setattr(planning_thread, "CutOptions", partial(planning_thread.CutOptions, min_section_s=shortest_s))


def limit_slowdown(patch: pytest.MonkeyPatch, slowest: float) -> None:
    """Set the lowest speed to which rate control may reduce the speed, as a factor of real time. Without this call, it
    is 1."""
    patch.setattr(rate_control, "MIN_SPEED", slowest)


@asynccontextmanager
async def tone_service(*faults: str, **settings: str) -> AsyncIterator[Settings]:
    """Run the self-hosted service with the tone recognizer and `faults` (values of `--fault`) on a free port. Yields
    settings with which a client can use it."""
    environ = {"STT_API_KEY": KEY, **settings}
    server_settings = load({**environ, "STT_SERVER_PORT": "0"})
    server = await app.start(server_settings, tone_recognizer(server_settings), [parse(fault) for fault in faults])
    try:
        await server.ready()
        yield load({**environ, "STT_URL": server.url})
    finally:
        await server.close()


async def transcribe(
    source: str | Path,
    settings: Settings,
    *,
    speed: float = math.inf,
    log: MemoryLog | None = None,
    out: LocalOutputs | None = None,
    sessions: int = 1,
    skip_silence: bool = False,
    channels: ChannelSelection = ALL_MIXED,
    session_options: Mapping[str, Any] = MappingProxyType({}),
    resume: ResumeState | None = None,
    content: KnownContent | None = None,
) -> Transcript:
    """Run one job through the whole pipeline. `out`: where to write its output files, or None to write none."""
    job = Job(
        id="test-job",
        source=address.parse(str(source)),
        speed=speed,
        language=None,
        sessions=sessions,
        skip_silence=skip_silence,
        channels=channels,
        session_options=session_options,
        resume=resume or ResumeState(),
        content=content or KnownContent(),
    )
    log = log or MemoryLog()
    transcript = await run(job, settings=settings, log=log, listener=log)
    if out is not None:
        write(transcript, out)
    return transcript


def assert_said(transcript: Transcript, words: Sequence[ToneWord], tolerance_s: float = TIME_TOLERANCE_S) -> None:
    """Assert that the transcript has exactly `words`, in order, each at most `tolerance_s` seconds off its time."""
    heard = [word for segment in transcript.segments for word in segment.words]
    assert [w.text for w in heard] == [w.text for w in words]
    late = max((abs(h.start - w.start) for h, w in zip(heard, words, strict=True)), default=0.0)
    assert late <= tolerance_s, f"a word is {late:.3f} s off"
