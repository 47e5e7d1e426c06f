"""From a job as it was asked for, and what earlier attempts left of it, to the pipeline's `Job`."""

from __future__ import annotations

from pathlib import Path

from tasks.jobs import JobSpec
from tasks.told import PLAN
from worker.pipeline import Earlier, Job
from worker.settings import Settings
from worker.storage.lease import Lease
from worker.storage.ledger import Ledger
from worker.storage.outputs import Outputs
from worker.transcript.model import Segment


async def job_of(lease: Lease, spec: JobSpec, settings: Settings, ledger: Ledger) -> Job:
    """Raises LedgerUnavailable."""
    most = min(settings.job_sessions or settings.sessions, settings.sessions)
    return Job(
        id=lease.job_id,
        source=Path(spec.source),
        speed=settings.speed if spec.speed is None else spec.speed,
        language=spec.language,
        out=Outputs(Path(spec.out_dir), spec.output_name, spec.formats) if spec.out_dir is not None else None,
        sessions=min(spec.sessions or most, most),
        skip_silence=settings.skip_silence if spec.skip_silence is None else spec.skip_silence,
        earlier=await _earlier(lease, ledger),
    )


async def _earlier(lease: Lease, ledger: Ledger) -> Earlier:
    """A last piece that the service never committed is to be heard again."""
    if lease.attempts <= 1 and not lease.commits:
        return Earlier()
    plan, lease.sections = await ledger.plan(lease.job_id)
    committed = [Segment.model_validate_json(entry.segment) async for entry in ledger.commits(lease.job_id)]
    return Earlier(
        plan=PLAN.validate_json(plan) if plan else None,
        finished=dict(lease.sections),
        committed=tuple(segment for segment in committed if segment.committed),
    )
