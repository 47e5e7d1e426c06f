"""The interface of the pipeline: a job with its resume state, its durable log, and its listener."""

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
    """The plans that `JobLog.record_plans` recorded."""
    finished: Mapping[int, SectionFacts] = field(default_factory=dict)
    """The complete sections by number, from 0."""
    committed: tuple[Segment, ...] = ()


@dataclass(frozen=True, slots=True)
class StartContent:
    """The content of the source at the start of a job, by its identity. Later attempts need the same content."""

    stamp: str | None = None
    """Stamp of a local file when it was opened, see `worker.audio.opened_file.FileStamp`."""
    sha256: str | None = None
    """In hexadecimal, or None while it is unknown."""


_START_CONTENT: Final = TypeAdapter(StartContent)


def start_content_json(content: StartContent) -> str:
    """The JSON form in the ledger. Its field names must not change."""
    return _START_CONTENT.dump_json(content).decode()


def read_start_content(text: str) -> StartContent:
    """Reads the output of `start_content_json`."""
    return _START_CONTENT.validate_json(text)


@dataclass(frozen=True, slots=True)
class KnownContent:
    """The known identity of the content of a job's source."""

    submitted: str | None = None
    """The content at submission, as `content_of` returns it, or None if it is unknown or any content is accepted."""
    start: StartContent | None = None
    """The content at the start of the first attempt."""
    warnings: tuple[str, ...] = ()
    """Warnings for the transcript: the reason why the job started over."""


@dataclass(frozen=True, slots=True)
class Job:
    """The input of one run."""

    id: str
    source: Address
    speed: Speed
    language: str | None
    """Language of the transcript if the service names none."""
    sha256: str | None = None
    """sha256 of the source in hexadecimal, or None to compute it."""
    sha256_stamp: str | None = None
    """Stamp of the file at the time of `sha256`. If the stamp has changed, the hash is computed again."""
    start_speed: float | None = None
    """Initial factor of real time for speed `auto`, or None for 1."""
    sessions: int = 1
    """Maximum number of sections that are streamed at the same time."""
    skip_silence: bool = False
    channels: ChannelSelection = ALL_MIXED
    resume: ResumeState = ResumeState()
    content: KnownContent = KnownContent()


class JobLog(Protocol):
    """The durable log of a job; in a worker it is the job's `Lease`.

    Each method returns when its entry is durable. An exception ends the run. Documents are passed as text, because only
    the pipeline reads them."""

    async def record_content(self, content: str, named: str) -> None:
        """Record the content (the output of `start_content_json`) before the first commit, and again with its hash.

        `named`: the content as `content_of` returns it, "" if it is unknown."""

    async def record_plans(self, plans: str) -> None:
        """Record the plans (as `plans_json` writes them) before the first commit."""

    async def commit(self, segment: Segment) -> None:
        """Record a segment; the run continues only when this has returned."""

    async def record_section(self, section: int, facts: SectionFacts) -> None:
        """Record that a section is complete."""


class RunListener(Protocol):
    """Follows a run. An exception ends the run."""

    def committed(self, segment: Segment) -> None:
        """A segment has become durable."""

    def progress(self, progress: Progress) -> None: ...
