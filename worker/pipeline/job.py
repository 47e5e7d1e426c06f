"""What the pipeline is given: one job, what earlier attempts left of it, and where it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from worker.audio.channel_selection import ALL_MIXED, Wanted
from worker.audio.segmentation.section_plan import Plan
from worker.job_progress import Progress
from worker.settings import Speed
from worker.transcript.model import SectionFacts, Segment


@dataclass(frozen=True, slots=True)
class Earlier:
    """What earlier attempts of a job left; this one goes on after it."""

    plans: tuple[Plan, ...] | None = None
    """As `JobLog.planned` was told."""
    finished: Mapping[int, SectionFacts] = field(default_factory=dict)
    """Sections that need nothing more, by their number."""
    committed: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class Began:
    """The content at the start of a job: a later attempt continues only on the same content."""

    stamp: str | None = None
    """Stamp of a local file when it was opened, see `worker.audio.opened_file.Stamp`."""
    sha256: str | None = None
    """In hexadecimal; None while it is unknown."""


@dataclass(frozen=True, slots=True)
class Content:
    """The known content of a job's source."""

    named: str | None = None
    """The content at submission, as `content_of` gives it; None if it is unknown or any content is accepted."""
    began: Began | None = None
    """The content at the start of the first attempt."""
    warnings: tuple[str, ...] = ()
    """Warnings for the transcript: the reason why the job started over."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs to know."""

    id: str
    source: str | Path
    """A path, or an address as in `worker.storage.address`."""
    speed: Speed
    language: str | None
    """Written into the transcript when the service names none."""
    sha256: str | None = None
    """sha256 of the source in hexadecimal, if it was hashed before; None: it is hashed."""
    sha256_stamp: str | None = None
    """The stamp of the file that was hashed; with another stamp it is hashed again."""
    start_speed: float | None = None
    """What `auto` begins with; None for real time."""
    sessions: int = 1
    """Sections that may be streamed at the same time."""
    skip_silence: bool = False
    channels: Wanted = ALL_MIXED
    earlier: Earlier = Earlier()
    content: Content = Content()


class JobLog(Protocol):
    """Where a run reports. All may raise, which ends the run."""

    async def began(self, content: Began, named: str) -> None:
        """Record the content durably, before the first commit, and again when the hash is known. `named`: the content
        as `content_of` gives it, if known."""

    async def planned(self, plans: Sequence[Plan]) -> None:
        """Make the plans durable, before anything is committed: one, or one for each channel streamed apart."""

    async def commit(self, segment: Segment) -> None:
        """Make a segment durable; the run goes on only when this returned."""

    async def finished(self, section: int, facts: SectionFacts) -> None:
        """Make it durable that a section needs nothing more."""

    async def progress(self, progress: Progress) -> None: ...
