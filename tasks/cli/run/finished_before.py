"""Finds the files of a run that an earlier run finished, from their transcripts alone.

If there is nothing to do, the run then ends without a queue, a worker and a recognizer. Measured with one finished
file: 0.7 instead of 12.9 seconds of CPU time.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from tasks.cli.sources.existing_outputs import document_may_exist, finished_transcript
from tasks.job_spec import JobSpec
from worker.job_progress import Progress
from worker.ledger.records import MAX_WARNINGS, JobRecord, JobState
from worker.transcript.model import Transcript

if TYPE_CHECKING:
    from tasks.client.producer import Producer  # loads the Redis client, which takes 0.15 s


def may_be_finished(spec: JobSpec) -> bool:
    """Whether a transcript exists that shows which job wrote it. Reads no file."""
    return document_may_exist(spec)


def finished_record(spec: JobSpec, identity: str) -> JobRecord | None:
    """Return the record of a job, made from its transcript, or None if the job may have something to do.

    The JSON transcript is written last. Another job may have replaced an output file that is newer, and only the ledger
    has the answer."""
    transcript = finished_transcript(spec, identity)
    if transcript is None:
        return None
    try:
        outputs = [output.text for output in spec.outputs()]
        written = [os.stat(path).st_mtime_ns for path in outputs]  # noqa: PTH116  a Path would take longer
    except OSError:
        return None
    document = written[spec.formats.index("json")]
    return _record(spec.batch, outputs, transcript) if document == max(written) else None


async def record_finished(producer: Producer, spec: JobSpec, identity: str) -> bool:
    """Whether an earlier run wrote the files of a job but ended before it recorded the job as done. If so, record
    the job as done now."""
    from worker.ledger.lease import Lease  # noqa: PLC0415

    ledger = producer.ledger
    before = await ledger.get(identity)
    if before is not None and before.state is JobState.DONE:
        return False
    transcript = await asyncio.to_thread(finished_transcript, spec, identity)
    if transcript is None:
        return False
    # A job that is recorded as running belongs to an earlier run that was killed together with its worker.
    if before is not None and before.state is JobState.RUNNING:
        await ledger.requeue(identity)
    else:
        await producer.record(identity, spec)
    lease = await ledger.acquire(identity, "run")
    if not isinstance(lease, Lease):  # a worker has acquired the job meanwhile
        return False
    await lease.finish(transcript, [output.text for output in spec.outputs()])
    return True


def _record(batch: str | None, outputs: Sequence[str], transcript: Transcript) -> JobRecord:
    """Return the record that the ledger has of a finished job, as far as its transcript shows it. The record has no
    spec, because a run does not read it, and its JSON takes as long as reading a short transcript."""
    ended_at = _seconds(transcript.created_at)
    return JobRecord(
        id=transcript.job_id,
        state=JobState.DONE,
        spec="",
        created_at=0.0,
        started_at=None if ended_at is None else ended_at - transcript.elapsed,
        ended_at=ended_at,
        attempts=1,
        epoch=0,
        owner="",
        lease_until=0.0,
        progress=Progress(
            duration_s=transcript.source.duration,
            sent_s=transcript.coverage.sent,
            committed_s=transcript.coverage.committed_until,
            partial="",
        ),
        commits=len(transcript.segments),
        error_code=None,
        error=None,
        outputs=tuple(outputs),
        warnings=transcript.warnings[:MAX_WARNINGS],
        quality=transcript.quality,
        batch=batch,
        paused=False,
        streamed=transcript.streamed,
    )


def _seconds(iso: str) -> float | None:
    try:
        return datetime.fromisoformat(iso).timestamp()
    except ValueError:
        return None
