"""Progress reports of a run: when they are sent, and their content."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import virtual_time
from tests.support.samples_of import a_segment
from worker.errors import SourceRefused
from worker.job_progress import Progress
from worker.pipeline.run_progress import PROGRESS_EVERY_S, RunProgress, SectionPositions, progress_of
from worker.realtime.rate_control import RateControl
from worker.settings import load
from worker.transcript.model import Segment


class Section:
    """A section of 10 s at 100 Hz of which `sent` samples were sent and half of them committed."""

    def __init__(self, sent: int, *failures: str) -> None:
        self.sent_s = sent / 100
        self.failures = list(failures)

    def positions(self) -> SectionPositions:
        sent = round(self.sent_s * 100)
        return SectionPositions(start=0, end=1000, sent=sent, committed=sent // 2)


class Listener:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def committed(self, segment: Segment) -> None:
        self.calls.append(f"committed {segment.text}")

    def progress(self, progress: Progress) -> None:
        self.calls.append(f"progress {progress.partial}")


async def a_run(listener: Listener, *sections: Section, hours: float = 8) -> RunProgress:
    settings = load({}, source_max_hours=hours, sample_rate=8000)
    progress = RunProgress(listener, settings, RateControl(1.0, asyncio.get_running_loop().time()), "a.wav")
    progress.start(sections, 10.0, channels=1)
    return progress


def test_text_in_progress_is_reported_at_intervals_and_a_commit_at_once() -> None:
    async def run() -> list[str]:
        listener = Listener()
        progress = await a_run(listener, Section(100))
        progress.update("too soon")
        await asyncio.sleep(PROGRESS_EVERY_S)
        progress.update("due")
        progress.update("too soon again")
        progress.committed(a_segment("one"))
        return listener.calls

    assert virtual_time.run(run()) == ["progress ", "progress due", "committed one", "progress "]


def test_a_source_longer_than_its_header_states_is_refused_during_streaming() -> None:
    async def run() -> None:
        progress = await a_run(Listener(), section := Section(100), hours=10 / 3600)
        section.sent_s = 11.0
        with pytest.raises(SourceRefused, match=r"a\.wav: is longer than .*STT_SOURCE_MAX_HOURS"):
            progress.committed(a_segment())

    virtual_time.run(run())


def test_progress_counts_finished_and_skipped_audio_as_done() -> None:
    progress = progress_of([Section(400, "old", "lost"), Section(0)], 50.0, 100, 2.0, "hel")
    assert (progress.sent_s, progress.committed_s) == (34.0, 32.0)
    assert (progress.partial, progress.speed, progress.trouble) == ("hel", 2.0, "lost")


def test_progress_of_separate_channels_is_their_mean() -> None:
    assert progress_of([Section(400), Section(0)], 10.0, 200, 1.0, "").sent_s == 2.0
