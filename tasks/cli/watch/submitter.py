"""Submits each file of a watched folder once, follows its job to the end, and reports the events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from tasks.cli.sources.existing_outputs import all_written, check_no_folders, document_of
from tasks.client.producer import Producer, make_spec
from tasks.job_spec import JobSpec, JobState, job_id
from worker.audio.opened_file import FileStamp
from worker.errors import OutputError, SourceError, SourceNotFound
from worker.ledger.records import JobRecord
from worker.storage.sources.wildcards import content_of

MAX_PER_POLL: Final = 500
"""Maximum number of jobs or files in one query to Redis."""


class EventCallback(Protocol):
    """Called for each event of a file: queued, done, failed, incomplete, cancelled, skipped, or "left out" (not
    transcribed)."""

    def __call__(self, event: str, source: Path, **facts: Any) -> None: ...


class FolderSubmitter:
    """Submits files and follows their jobs. Methods raise LedgerUnavailable and QueueFull; the caller then repeats the
    call."""

    def __init__(self, producer: Producer, folder: Path, options: dict[str, Any], report: EventCallback) -> None:
        """`options`: the fields of JobSpec common to all jobs, including `out_dir` and `batch`."""
        self._producer = producer
        self._folder = folder
        self._options = options
        self._report = report
        self._open: dict[str, Path] = {}
        self._taken: set[Path] = set()
        self.done = 0
        self.failed: dict[Path, str] = {}
        """Files that failed, with the reasons. A file is removed when it was replaced and the new one is done."""

    @property
    def open(self) -> int:
        """Return the number of submitted jobs that wait or run."""
        return len(self._open)

    async def take(self, settled: Mapping[Path, FileStamp]) -> AsyncIterator[Path]:
        """Submit each file whose transcript does not exist yet. Yields each file when it has been handled. A file is
        not read again if it has not changed since it was hashed, by this process or an earlier one."""
        paths = list(settled)
        for first in range(0, len(paths), MAX_PER_POLL):
            async for path in self._take_some({path: settled[path] for path in paths[first : first + MAX_PER_POLL]}):
                yield path

    async def _take_some(self, settled: Mapping[Path, FileStamp]) -> AsyncIterator[Path]:
        known = await self._producer.hash_cache.get_many({str(path): str(stamp) for path, stamp in settled.items()})
        # Output names always include the ending. Otherwise they would depend on which other files exist at the moment.
        specs: dict[Path, JobSpec] = {}
        for path in settled:
            try:
                specs[path] = make_spec(path, out_name=path.relative_to(self._folder).as_posix(), **self._options)
            except SourceError as exc:
                self._failed(path, "failed", exc.code, str(exc))
                yield path
        ids = {path: job_id(spec, known[str(path)]) for path, spec in specs.items() if str(path) in known}
        for path, identity in ids.items():
            self._producer.identified.note(identity, known[str(path)])
        async for path in self._submit(ids, specs):
            yield path
        for path in [path for path in specs if path not in ids]:
            content = await self._read(path, specs[path], settled[path])
            if content is None:
                self._taken.add(path)
                yield path
            else:
                identity = job_id(specs[path], content)
                self._producer.identified.note(identity, content)
                async for taken in self._submit({path: identity}, specs):
                    yield taken

    async def _read(self, path: Path, spec: JobSpec, stamp: FileStamp) -> str | None:
        """Return the content hash of the file. Returns None if the file no longer exists. If the file cannot be read,
        reports that and returns None."""
        try:
            content = await content_of(spec.source, self._producer.settings)
            unchanged = await asyncio.to_thread(FileStamp.at, path) == stamp
        except (SourceNotFound, FileNotFoundError):
            return None  # the file was deleted; if it appears again, it counts as new
        except SourceError as exc:
            self._failed(path, "failed", exc.code, str(exc))
            return None
        if unchanged:
            await self._producer.hash_cache.put({str(path): (str(stamp), content)})
        return content

    async def _submit(self, ids: Mapping[Path, str], specs: Mapping[Path, JobSpec]) -> AsyncIterator[Path]:
        records = await self._producer.ledger.get_many(list(ids.values()))
        wanted: dict[bool, list[Path]] = {False: [], True: []}
        for path, record in zip(ids, records, strict=True):
            again = self._missing(path, specs[path], ids[path], record)
            if again is None:
                self._taken.add(path)
                yield path
            else:
                wanted[again].append(path)
        for force, paths in wanted.items():
            jobs = [(ids[path], specs[path]) for path in paths]
            await self._producer.enqueue(jobs, batch=self._options["batch"], force=force)
            for path in paths:
                if ids[path] not in self._open:
                    self._open[ids[path]] = path
                    self._report("queued", path, id=ids[path])
                self._taken.add(path)
                yield path

    def _missing(self, path: Path, spec: JobSpec, identity: str, record: JobRecord | None) -> bool | None:
        """Decide how to submit the job of a file. Returns True if the job is done but must run again, because its files
        are missing. Returns False for all other jobs to submit. Returns None if there is nothing to submit; this is
        reported as an event.

        After a restart of this process a failed job is only reported. If the file settles a second time, it was touched
        or replaced, and is submitted again.
        """
        try:
            check_no_folders(spec)
        except OutputError as exc:
            self._failed(path, "failed", exc.code, str(exc), identity)
            return None
        if record is None:
            if document_of(spec, identity) is None:
                return False
        elif record.state is JobState.DONE:
            if not all_written(spec, record.ended_at):
                return True
        elif record.state.ended and path not in self._taken:
            self._ended(path, record)
            return None
        else:
            return False
        self._report("skipped", path, id=identity)
        return None

    async def look(self) -> None:
        """Report the jobs that have ended since the last call."""
        ids = list(self._open)[:MAX_PER_POLL]
        for identity, record in zip(ids, await self._producer.ledger.get_many(ids), strict=True):
            path = self._open.pop(identity)
            if record is None:
                self._failed(path, "failed", "expired", "its record is no longer in the ledger")
            elif record.state.ended:
                self._ended(path, record)
            else:
                self._open[identity] = path  # move it to the end, so that the next call queries other jobs first

    def _ended(self, path: Path, record: JobRecord) -> None:
        if record.state is JobState.DONE:
            self.done += 1
            self.failed.pop(path, None)
            took_s = (record.ended_at or 0) - (record.started_at or 0)
            self._report(
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
        self._report(event, path, id=job_id, error_code=code or None, error=reason or None)
