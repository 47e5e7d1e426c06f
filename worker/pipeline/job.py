"""The interface of the pipeline: one job with its resume state, its durable record, and its listener."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from pydantic import TypeAdapter

from worker.audio.channel_selection import ALL_MIXED, ChannelSelection
from worker.audio.segmentation.section_plan import StreamingPlan
from worker.job_progress import Progress
from worker.settings import Speed
from worker.storage.address import Address
from worker.transcript.model import SectionFacts, Segment


@dataclass(frozen=True, slots=True)
class ResumeState:
    """The state that earlier attempts of a job left; a run continues from it."""

    plans: tuple[StreamingPlan, ...] | None = None
    """The plans that `JobLog.planned` recorded."""
    finished: Mapping[int, SectionFacts] = field(default_factory=dict)
    """The complete sections, by their number."""
    committed: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class StartContent:
    """The content at the start of a job: a later attempt continues only on the same content."""

    stamp: str | None = None
    """Stamp of a local file when it was opened, see `worker.audio.opened_file.FileStamp`."""
    sha256: str | None = None
    """In hexadecimal, or None while it is unknown."""


_BEGAN: Final = TypeAdapter(StartContent)


def start_content_json(content: StartContent) -> str:
    return _BEGAN.dump_json(content).decode()


def read_start_content(text: str) -> StartContent:
    """Reads the output of `start_content_json`."""
    return _BEGAN.validate_json(text)


@dataclass(frozen=True, slots=True)
class KnownContent:
    """The known content of a job's source."""

    named: str | None = None
    """The content at submission, as `content_of` gives it, or None if it is unknown or any content is accepted."""
    began: StartContent | None = None
    """The content at the start of the first attempt."""
    warnings: tuple[str, ...] = ()
    """Warnings for the transcript: the reason why the job started over."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one run needs to know."""

    id: str
    source: Address
    speed: Speed
    language: str | None
    """Written into the transcript when the service names none."""
    sha256: str | None = None
    """sha256 of the source in hexadecimal, if it was hashed before; None: it is hashed."""
    sha256_stamp: str | None = None
    """The stamp of the file that was hashed; with another stamp it is hashed again."""
    start_speed: float | None = None
    """What `auto` begins with, or None for real time."""
    sessions: int = 1
    """Sections that may be streamed at the same time."""
    skip_silence: bool = False
    channels: ChannelSelection = ALL_MIXED
    resume: ResumeState = ResumeState()
    content: KnownContent = KnownContent()


class JobLog(Protocol):
    """The durable record of a job; in a worker it is the job's `Lease`. Each method returns when its entry is durable;
    an exception ends the run. Documents are passed as text: only the pipeline reads them."""

    async def began(self, content: str, named: str) -> None:
        """Record the content (the output of `start_content_json`) before the first commit, and again with its hash.

        `named`: the content as `content_of` returns it, "" if it is unknown."""

    async def planned(self, plans: str) -> None:
        """Record the plans (as `plans_json` writes them) before the first commit."""

    async def commit(self, segment: Segment) -> None:
        """Record a segment; the run continues only when this has returned."""

    async def finished(self, section: int, facts: SectionFacts) -> None:
        """Record that a section is complete."""


class RunListener(Protocol):
    """Follows a run. An exception ends the run."""

    def committed(self, segment: Segment) -> None:
        """A segment has become durable."""

    def progress(self, progress: Progress) -> None: ...
