"""Runs one attempt at a job: transcribes the source, continuing after the committed text of earlier attempts, and
writes the files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from tasks.glossary_file import read_glossary
from tasks.job_spec import JobSpec
from worker.audio.channel_selection import ChannelSelection
from worker.audio.segmentation.section_plan import read_plans
from worker.errors import EndpointUnavailable, OutputError
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.ledger.records import ContentRecord
from worker.pipeline.job import Job, JobLog, KnownContent, ResumeState, RunListener
from worker.pipeline.start_content import read_start_content
from worker.realtime.slots import Slots
from worker.session_options import checked_options, merged, parse_options
from worker.settings import Settings
from worker.storage.outputs.deliver import deliver
from worker.transcript.glossary import Term
from worker.transcript.model import Segment, Transcript


class Pipeline(Protocol):
    def __call__(
        self, job: Job, *, settings: Settings, log: JobLog, listener: RunListener, slots: Slots
    ) -> Awaitable[Transcript]: ...


Result = tuple[Transcript, tuple[str, ...]]
"""The transcript, and the paths and addresses of the files that were written."""


# The pipeline is a parameter of AttemptRunner, so that tests can run attempts without audio.
class AttemptRunner:
    """Runs attempts with the settings, the pipeline and the session slots of one worker process."""

    def __init__(self, settings: Settings, ledger: Ledger, pipeline: Pipeline, slots: Slots) -> None:
        self._settings = settings
        self._ledger = ledger
        self._pipeline = pipeline
        self._slots = slots

    def max_attempts(self, lease: Lease) -> int:
        """Return the maximum number of attempts in a row at this job. If the last attempt fails, the job fails."""
        return self._settings.output_attempts if lease.transcribed else self._settings.job_attempts

    async def run(self, lease: Lease, spec: JobSpec, listener: RunListener) -> Result:
        """Transcribe the source and write the files. Raises SttError; its `retryable` is True if a later attempt may
        succeed.

        If the files cannot be written, the ledger stores the transcript, and the next attempt only writes the files.
        """
        transcript = await self._transcript(lease, spec, listener)
        try:
            outputs = await deliver(
                transcript, spec.out_dirs, spec.output_name, spec.formats, self._settings, style=spec.style
            )
        except OutputError:
            if not lease.transcribed:
                await lease.store_transcript(transcript)
            raise
        return transcript, outputs

    async def _transcript(self, lease: Lease, spec: JobSpec, listener: RunListener) -> Transcript:
        if lease.transcribed:
            stored = await self._ledger.transcript(lease.job_id)
            if stored is not None:
                return Transcript.model_validate_json(stored)
            # The stored transcript has expired: the audio must be streamed again.
            lease.transcribed = False
        job = await job_of(lease, spec, self._settings, self._ledger)
        transcript = await self._pipeline(job, settings=self._settings, log=lease, listener=listener, slots=self._slots)
        # Later jobs with the speed `auto` start at this speed instead of real time.
        if transcript.speed_reached is not None:
            await self._ledger.speed_cache.put(self._settings.url, transcript.speed_reached)
        # Sessions failed, so audio is missing. Another attempt may transcribe it; the last attempt delivers the
        # incomplete transcript.
        if lease.tries < self._settings.job_attempts and (reason := transcript.session_failure) is not None:
            raise EndpointUnavailable(reason)
        return transcript


async def job_of(lease: Lease, spec: JobSpec, settings: Settings, ledger: Ledger) -> Job:
    """Create the job for the pipeline from its spec, the settings and the ledger. Raises LedgerUnavailable."""
    speed = settings.speed if spec.speed is None else spec.speed
    max_sessions = min(settings.job_max_sessions or settings.worker_sessions, settings.worker_sessions)
    stamp, sha256 = await ledger.hash_cache.get(spec.source.text) if spec.source.is_file else (None, None)
    return Job(
        id=lease.job_id,
        source=spec.source,
        sha256=sha256,
        sha256_stamp=stamp,
        speed=speed,
        start_speed=await ledger.speed_cache.get(settings.url) if speed == "auto" else None,
        language=spec.language,
        # A job cannot use more sessions than its worker process opens.
        sessions=min(spec.sessions or max_sessions, max_sessions),
        skip_silence=settings.skip_silence if spec.skip_silence is None else spec.skip_silence,
        channels=ChannelSelection(spec.channels, spec.channel_names, spec.track),
        glossary=await glossary_of(spec, settings),
        session_options=session_options_of(spec, settings),
        one_script=spec.style.script is not None,
        resume=await _resume_state(lease, ledger),
        content=_content(lease.content),
    )


def session_options_of(spec: JobSpec, settings: Settings) -> dict[str, JsonValue]:
    """Return the options to add to the sessions of a job: those of the settings, its language if the service has an
    option for it, and its own ones."""
    defaults = parse_options(settings.session_options)
    if settings.language_option and spec.language:
        defaults = merged(defaults, checked_options({settings.language_option: spec.language}))
    return merged(defaults, spec.session_options)


async def glossary_of(spec: JobSpec, settings: Settings) -> tuple[Term, ...]:
    """Return the corrections of the job or, if it has none, those of this worker's settings. Raises BadJob if the
    glossary file of the settings cannot be read."""
    if spec.glossary or not settings.glossary:
        return spec.glossary
    return await asyncio.to_thread(read_glossary, Path(settings.glossary))


def _content(record: ContentRecord) -> KnownContent:
    return KnownContent(
        # With an idempotency key, or after a retry of a job whose source had changed (`*`), every content is accepted.
        submitted=None if record.keyed or record.named in ("", "*") else record.named,
        start=read_start_content(record.began) if record.began else None,
        warnings=(f"started over: {record.restarted}",) if record.restarted else (),
    )


async def _resume_state(lease: Lease, ledger: Ledger) -> ResumeState:
    """Read the results of earlier attempts from the ledger, so that this attempt continues after them. Text that the
    service never committed is dropped, and its audio is streamed again. Raises LedgerUnavailable."""
    # The first attempt need not read the ledger. The number of attempts alone does not show that an attempt is the
    # first one: an earlier attempt that the worker stopped (drain, pause) is not counted, but its commits remain.
    if lease.attempts <= 1 and not lease.commits:
        return ResumeState()
    plan, lease.sections = await ledger.plan(lease.job_id)
    lease.sectioned = plan is not None
    committed = [Segment.model_validate_json(entry.segment) async for entry in ledger.commits(lease.job_id)]
    return ResumeState(
        plans=read_plans(plan) if plan else None,
        finished=dict(lease.sections),
        committed=tuple(segment for segment in committed if segment.committed),
    )
