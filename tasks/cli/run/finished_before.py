"""Finds the files of a run that an earlier run finished, from their transcripts alone.

If there is nothing to do, the run then ends without a queue, a worker and a recognizer. Measured with one finished
file: 0.7 instead of 12.9 seconds of CPU time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime

from tasks.cli.sources.existing_outputs import all_there, finished_transcript
from tasks.job_spec import JobSpec
from worker.job_progress import Progress
from worker.ledger.records import MAX_WARNINGS, JobRecord, JobState
from worker.transcript.model import Transcript


def may_be_finished(spec: JobSpec) -> bool:
    """Whether all output files of a job exist, and one of them shows which job wrote them. Reads no file."""
    return "json" in spec.formats and all_there(spec)


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
