"""What the pipeline is given: one job, what earlier attempts left of it, and where it reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from worker.audio.channels import ALL_MIXED, Wanted
from worker.audio.sections import Plan
from worker.progress import Progress
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
    """The content that a job began with: a later attempt goes on after it only on the same one."""

    stamp: str | None = None
    """Of a file on this disk when it was opened, see `worker.audio.sourcefile.Stamp`."""
    sha256: str | None = None
    """In hexadecimal; None as long as it is not known."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of the content that a job is about."""

    named: str | None = None
    """When the job was submitted, as `content_of` has it; None where nobody looked, or any content will do."""
    began: Began | None = None
    """When the first attempt began."""
    warnings: tuple[str, ...] = ()
    """For the transcript: why the job began anew."""


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
    """Of the source, in hexadecimal, where it has been hashed before; None: it is hashed."""
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
        """Make durable what the job is about, before anything is committed; again once the hash is known. `named`: the
        same as `content_of` has it, where it is known."""

    async def planned(self, plans: Sequence[Plan]) -> None:
        """Make the plans durable, before anything is committed: one, or one for each channel streamed apart."""

    async def commit(self, segment: Segment) -> None:
        """Make a segment durable; the run goes on only when this returned."""

    async def finished(self, section: int, facts: SectionFacts) -> None:
        """Make it durable that a section needs nothing more."""

    async def progress(self, progress: Progress) -> None: ...
