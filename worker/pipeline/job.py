"""The interface of the pipeline: the job to run with its resume state, and the protocols of its durable log and its
listener."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pydantic import JsonValue

from worker.audio.channel_selection import ALL_MIXED, ChannelSelection
from worker.audio.segmentation.section_plan import StreamingPlan
from worker.job_progress import Progress
from worker.pipeline.start_content import StartContent
from worker.settings import Speed
from worker.storage.address import Address
from worker.transcript.glossary import Term
from worker.transcript.model import SectionFacts, Segment


@dataclass(frozen=True, slots=True)
class ResumeState:
    """The recorded state of earlier attempts at a job; a run continues from it."""

    plans: tuple[StreamingPlan, ...] | None = None
    """The plans that `JobLog.record_plans` recorded."""
    finished: Mapping[int, SectionFacts] = field(default_factory=dict)
    """The complete sections by number, from 0."""
    committed: tuple[Segment, ...] = ()
    """All segments that earlier attempts recorded in the log."""


@dataclass(frozen=True, slots=True)
class KnownContent:
    """The recorded identity of the content of a job's source, at submission and at the start of the job."""

    submitted: str | None = None
    """The content at submission, as `worker.storage.sources.wildcards.content_of` identifies it, or None if it is
    unknown, or if any content is accepted."""
    start: StartContent | None = None
    """The content at the start of the first attempt, or None if none is recorded yet."""
    warnings: tuple[str, ...] = ()
    """Warnings for the transcript, such as the reason why the job started over."""


@dataclass(frozen=True, slots=True)
class Job:
    """The input of one run (one attempt at a job)."""

    id: str
    source: Address
    speed: Speed
    language: str | None
    """Language code for the transcript if the service names none."""
    sha256: str | None = None
    """SHA-256 of the source in hexadecimal, or None to compute it."""
    sha256_stamp: str | None = None
    """The file's `FileStamp` when `sha256` was computed. If it has changed, the hash is computed again. None: `sha256`
    is used without this check."""
    start_speed: float | None = None
    """Initial factor of real time for speed `auto`, or None for 1."""
    sessions: int = 1
    """Maximum number of sections that are streamed at the same time."""
    skip_silence: bool = False
    channels: ChannelSelection = ALL_MIXED
    glossary: tuple[Term, ...] = ()
    """Corrections of the recognized text: pairs of heard and wanted terms."""
    session_options: Mapping[str, JsonValue] = field(default_factory=dict)
    """Options to add to `start-session`."""
    one_script: bool = False
    """Whether the files of the job are written in one Chinese script."""
    resume: ResumeState = ResumeState()
    content: KnownContent = KnownContent()


class JobLog(Protocol):
    """The durable log of a job; in a worker, the job's `Lease` implements it.

    Each method returns when its entry is durable. An exception from any method ends the run. The content and the plans
    are passed as JSON text, because only the pipeline reads them."""

    async def record_content(self, content: str, named: str) -> None:
        """Record the content of the source before the first commit, and again when its hash is known.

        `content`: the output of `start_content.start_content_json`. `named`: the identity of the content that
        `worker.storage.sources.wildcards.content_of` returns, or "" if the content is unknown."""

    async def record_plans(self, plans: str) -> None:
        """Record the plans (as `plans_json` writes them) before the first commit."""

    async def commit(self, segment: Segment) -> None:
        """Record a segment. The section of the segment continues only after this call has returned."""

    async def record_section(self, section: int, facts: SectionFacts) -> None:
        """Record that a section is complete."""


class RunListener(Protocol):
    """Receives the progress of a run. An exception from a method ends the run."""

    def committed(self, segment: Segment) -> None:
        """Called when `segment` is durable."""

    def progress(self, progress: Progress) -> None: ...
