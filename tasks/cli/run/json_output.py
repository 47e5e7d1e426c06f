"""The JSON output of a run for programs: events as JSON lines during the run, and one document at the end."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from tasks.batches.summary import JobLine
from tasks.cli.run.file_states import File
from tasks.cli.run.progress_totals import RunTotals
from tasks.cli.sources.find_recordings import LeftOutFile, as_documents
from worker.ledger.records import CommitEntry, JobState
from worker.text_escaping import printable_lines
from worker.transcript.model import Segment

JsonMode = Literal["document", "lines"]
"""One document at the end, or one JSON object per line while the run continues."""
SCHEMA_VERSION: Final = 1
PROGRESS_EVERY_S: Final = 2.0


class JsonEvents:
    """Writes events as JSON lines: ready, committed, progress, done, incomplete, failed, summary. Without a stream it
    writes nothing."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self._next_progress = 0.0

    def write(self, event: str, **facts: Any) -> None:
        if self._stream is not None:
            self._stream.write(printable_lines(json.dumps({"event": event, **facts}, ensure_ascii=False)) + "\n")
            self._stream.flush()

    def file(self, file: File) -> None:
        if self._stream is None:
            return
        names = {JobState.DONE: "done", JobState.INCOMPLETE: "incomplete"}
        self.write(names.get(file.state, "failed"), **of_file(file))

    def committed(self, file: File, entry: CommitEntry) -> None:
        """Write the text of one commit of a job."""
        segment = Segment.model_validate_json(entry.segment)
        facts = {"start": segment.start, "end": segment.end, "text": segment.text, "channel": segment.channel}
        self.write("committed", source=file.shown, id=file.job_id, **facts)

    def progress(self, overall: RunTotals) -> None:
        if self._stream is None or time.monotonic() < self._next_progress:
            return
        self._next_progress = time.monotonic() + PROGRESS_EVERY_S
        self.write(
            "progress",
            done=overall.done,
            incomplete=overall.incomplete,
            failed=overall.failed,
            total=overall.total,
            fraction=round(overall.fraction, 4),
            speed=overall.speed and round(overall.speed, 2),
            left_s=overall.left_s and round(overall.left_s, 1),
        )


def of_file(file: File) -> dict[str, Any]:
    code, text = file.error or (None, None)
    return {
        "source": file.shown,
        "id": file.job_id,
        "state": file.state.value,
        "skipped": file.skipped,
        "duration_s": round(file.duration_s, 3),
        "took_s": None if file.took_s is None else round(file.took_s, 3),
        "speed": None if file.speed is None else round(file.speed, 2),
        "outputs": list(file.record.outputs) if file.record else [],
        "warnings": list(file.warnings),
        "quality": file.quality.model_dump(mode="json") if file.quality else None,
        "error_code": code,
        "error": text,
    }


def line_of(file: File) -> JobLine:
    """Convert a file of the run to a job of a batch summary."""
    code, text = file.error or (None, None)
    record = file.record
    return JobLine(
        id=file.job_id,
        source=file.shown,
        state=file.state,
        skipped=file.skipped,
        duration_s=round(file.duration_s, 3),
        done_s=round(max(0.0, file.behind_s - (file.before_s or 0.0)), 3),
        took_s=None if file.took_s is None else round(file.took_s, 3),
        streaming_speed=None if file.speed is None else round(file.speed, 2),
        started_at=record.started_at if record else None,
        ended_at=record.ended_at if record else None,
        outputs=record.outputs if record else (),
        warnings=file.warnings,
        quality=file.quality,
        error_code=code,
        error=text,
    )


def document(
    files: Sequence[File], out: Path, overall: RunTotals, elapsed_s: float, left_out: Sequence[LeftOutFile] = ()
) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "out": str(out.absolute()),
        "total": overall.total,
        "done": overall.done,
        "skipped": overall.skipped,
        "incomplete": overall.incomplete,
        "failed": overall.failed,
        "elapsed_s": round(elapsed_s, 3),
        "jobs": [of_file(file) for file in files],
        "left_out": as_documents(left_out),
    }
