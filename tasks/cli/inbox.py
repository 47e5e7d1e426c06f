"""The files of a watched folder as jobs: each submitted once, followed to its end, and told of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Protocol

from tasks.cli.written import all_there, document_of
from tasks.jobs import JobState
from tasks.producer import Producer, make_spec
from worker.errors import SourceError, SourceNotFound
from worker.storage.records import JobRecord

LOOK_AT: Final = 500
"""Jobs that are asked for in one look."""


class Tell(Protocol):
    """Called for every event of a file: queued, done, failed, incomplete, cancelled, skipped, left out."""

    def __call__(self, event: str, source: Path, **facts: Any) -> None: ...


class Inbox:
    """Methods raise LedgerUnavailable and QueueFull: the same call again goes on."""

    def __init__(self, producer: Producer, folder: Path, options: dict[str, Any], tell: Tell) -> None:
        """`options`: the fields of JobSpec all jobs have in common, `out_dir` and `batch` among them."""
        self._producer = producer
        self._folder = folder
        self._options = options
        self._tell = tell
        self._open: dict[str, Path] = {}
        self._taken: set[Path] = set()
        self.done = 0
        self.failed: dict[Path, str] = {}
        """What came to no good end, and why; a file that is replaced and then done leaves it."""

    @property
    def open(self) -> int:
        """Jobs that wait or run."""
        return len(self._open)

    async def take(self, path: Path) -> None:
        """Submit a file unless it was done before. That it failed in an earlier life of this process stands; a second
        time it has been touched or replaced, and is tried again."""
        await self._take(path, first=path not in self._taken)
        self._taken.add(path)

    async def _take(self, path: Path, *, first: bool) -> None:
        # With its ending: what a file is called must not depend on which others lie there at the moment.
        spec = make_spec(path, out_name=path.relative_to(self._folder).as_posix(), **self._options)
        try:
            identity = await self._producer.identify(spec)
        except SourceNotFound:
            return  # gone again; if it comes back, that is seen
        except SourceError as exc:
            self._failed(path, "failed", exc.code, str(exc))
            return
        record = await self._producer.ledger.get(identity)
        again = False
        if record is None:
            if document_of(spec, identity) is not None:
                self._tell("skipped", path, id=identity)
                return
        elif record.state is JobState.DONE:
            if all_there(spec):
                self._tell("skipped", path, id=identity)
                return
            again = True
        elif record.state.ended and first:
            self._ended(path, record)
            return
        await self._producer.enqueue([(identity, spec)], batch=spec.batch, again=again)
        if identity not in self._open:
            self._open[identity] = path
            self._tell("queued", path, id=identity)

    async def look(self) -> None:
        """Tell of the jobs that have ended since."""
        ids = list(self._open)[:LOOK_AT]
        for job_id, record in zip(ids, await self._producer.ledger.get_many(ids), strict=True):
            path = self._open.pop(job_id)
            if record is None:
                self._failed(path, "failed", "expired", "its record is gone from the ledger")
            elif record.state.ended:
                self._ended(path, record)
            else:
                self._open[job_id] = path  # behind those that were not looked at

    def _ended(self, path: Path, record: JobRecord) -> None:
        if record.state is JobState.DONE:
            self.done += 1
            self.failed.pop(path, None)
            took_s = (record.ended_at or 0) - (record.started_at or 0)
            self._tell(
                "done",
                path,
                id=record.id,
                duration_s=round(record.progress.duration_s, 3),
                took_s=round(took_s, 3),
                outputs=list(record.outputs),
            )
        else:
            self._failed(path, record.state.value, record.error_code or "", record.error or "", record.id)

    def _failed(self, path: Path, event: str, code: str, reason: str, job_id: str | None = None) -> None:
        self.failed[path] = reason or event
        self._tell(event, path, id=job_id, error_code=code or None, error=reason or None)
