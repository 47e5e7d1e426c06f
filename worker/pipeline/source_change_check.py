"""Checks that the content of a source has not changed since the job was submitted, and does not change while the job
runs.

The content of a file is identified by its SHA-256. Until the hash is known, the file's stamp (`FileStamp`: size, times,
inode, device) is compared instead. Programs cannot forge the change time in the stamp, because only the kernel sets
that time. If the stamp has changed at the end of streaming, the file is read and hashed again. So a rename or a `touch`
only costs a second reading, but a file that was rewritten during streaming never yields a transcript.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from worker.audio.opened_file import FileStamp
from worker.audio.source import sha256_of
from worker.errors import SourceChanged, SourceError
from worker.pipeline.job import Job, JobLog
from worker.pipeline.start_content import StartContent, start_content_json
from worker.storage.sources.background_hash import background_sha256
from worker.storage.sources.download import LocalSource

_SHA256: Final = re.compile(r"[0-9a-f]{64}")


class ContentGuard:
    """Checks that the content of a source does not change. Create it with `guarded`.

    The methods raise SourceChanged if the content differs from the content at the start of the job."""

    def __init__(
        self, job: Job, local: LocalSource, log: JobLog, start: os.stat_result, digest: asyncio.Future[str]
    ) -> None:
        self._job, self._local, self._log, self._digest = job, local, log, digest
        self._start, self._start_path = start, _path_of(local)
        self._sha256: str | None = None
        self._from_start = False
        """Whether `_sha256` is certainly the hash of the content at the start of this attempt."""
        self._hash_task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Compare the source with its known content, and record the content at the start of this attempt durably."""
        content, stamp = self._job.content, str(FileStamp.of(self._start))
        submitted, began = content.submitted, content.start
        if submitted is not None and self._local.content is not None and _differ(submitted, self._local.content):
            raise self._changed("since the job was submitted")
        expected = began.sha256 if began is not None else None
        since = "since the job began"
        if expected is None and submitted is not None and _SHA256.fullmatch(submitted):
            expected, since = submitted, "since the job was submitted"
        if self._digest.done():
            self._sha256, self._from_start = await self._digest, True
        elif expected is not None:
            await self._await_hash()
        if expected is not None and self._sha256 != expected:
            raise self._changed(since)
        if began is not None and expected is None and self._has_progress() and began.stamp != stamp:
            raise self._changed(since)
        await self._record_start(stamp)
        if self._sha256 is None:
            self._hash_task = asyncio.create_task(self._record_hash(stamp))

    def check_size(self) -> None:
        """Check that the file's size has not changed. This check is cheap enough to run at every commit, so a file that
        shrinks or grows is not streamed to its end."""
        if self._local.file.stamp().size_bytes != self._start.st_size:
            raise self._changed("while it was streamed")

    async def end(self) -> str:
        """Return the SHA-256 of the streamed content, in hexadecimal. Call it after the last read of the source."""
        if self._hash_task is not None:
            await self._hash_task
        now, start = await asyncio.to_thread(self._local.file.stat), self._start
        sha256 = self._sha256 or await self._digest
        if FileStamp.of(now) == FileStamp.of(start):
            return sha256
        written = (now.st_size, now.st_mtime_ns) != (start.st_size, start.st_mtime_ns)
        moved = _location_attributes(now) != _location_attributes(start) or _path_of(self._local) != self._start_path
        # A second hash proves that the content is the same only if the first hash is of the content at the start of the
        # job. If the file may have changed before the first hash, only its name, links or permissions may have changed.
        provable = self._from_start or (moved and not written)
        if provable and await asyncio.to_thread(sha256_of, self._local.file) == sha256:
            return sha256
        raise self._changed("while it was streamed")

    def explain(self, exc: SourceError) -> SourceError:
        """Return the error to report instead of the decoder error `exc`: SourceChanged if the file changed during
        streaming (a truncated file looks damaged to the decoder), otherwise `exc`."""
        if isinstance(exc, SourceChanged):
            return exc
        now = self._local.file.stamp()
        changed = (now.size_bytes, now.mtime_ns) != (self._start.st_size, self._start.st_mtime_ns)
        return self._changed("while it was streamed") if changed else exc

    async def close(self) -> None:
        if self._hash_task is not None:
            self._hash_task.cancel()
            await asyncio.gather(self._hash_task, return_exceptions=True)

    async def _record_hash(self, stamp: str) -> None:
        await self._await_hash()
        if self._from_start:
            await self._record_start(stamp)

    async def _await_hash(self) -> None:
        self._sha256 = await asyncio.shield(self._digest)
        self._from_start = FileStamp.of(await asyncio.to_thread(self._local.file.stat)) == FileStamp.of(self._start)

    async def _record_start(self, stamp: str) -> None:
        remote = self._local.content is not None
        named = (self._local.content or "") if remote else (self._sha256 or "")
        await self._log.record_content(start_content_json(StartContent(None if remote else stamp, self._sha256)), named)

    def _has_progress(self) -> bool:
        resume = self._job.resume
        return bool(resume.committed or resume.finished or resume.plans)

    def _changed(self, since: str) -> SourceChanged:
        kept = "; the committed text is kept" if self._has_progress() or since.startswith("while") else ""
        # This text is also shown by `stt-batch run`, whose queue has ended by then.
        remedy = f"transcribe the file again as it is now, or, in a queue, run `stt-batch retry {self._job.id}`"
        return SourceChanged(f"{self._local.shown}: its content has changed {since}{kept}; {remedy}")


@asynccontextmanager
async def guarded(job: Job, local: LocalSource, log: JobLog) -> AsyncIterator[ContentGuard]:
    """Context with a guard that has compared the source with the content that the job expects.

    Raises SourceChanged if the contents differ. If a change of the file causes a decoder error in the body,
    SourceChanged replaces that error."""
    start = await asyncio.to_thread(local.file.stat)
    async with background_sha256(local.file, _known(job, local, str(FileStamp.of(start)))) as digest:
        guard = ContentGuard(job, local, log, start, digest)
        try:
            await guard.begin()
            yield guard
        except SourceError as exc:
            explained = guard.explain(exc)
            if explained is exc:
                raise
            raise explained from exc
        finally:
            await guard.close()


def _known(job: Job, local: LocalSource, stamp: str) -> str | None:
    """Return the SHA-256 of the open file if it is known without reading the file, otherwise None."""
    if local.sha256 is not None:
        return local.sha256
    if job.sha256 is not None and job.sha256_stamp in (None, stamp):
        return job.sha256
    began = job.content.start
    return began.sha256 if began is not None and began.stamp == stamp else None


def _differ(one: str, other: str) -> bool:
    """Whether two results of `remote_content_id` identify different contents. Compares only the lengths and validators
    that both results contain."""
    pairs = list(zip(one.split("\n")[1:3], other.split("\n")[1:3], strict=False))
    if len(pairs) < 2:
        return False  # the content was not known at submission
    (validator, other_validator), (length, other_length) = pairs
    if "None" not in (length, other_length) and length != other_length:
        return True
    same_kind = validator.startswith('"') == other_validator.startswith('"')
    return same_kind and "None" not in (validator, other_validator) and validator != other_validator


def _location_attributes(facts: os.stat_result) -> tuple[int, ...]:
    """Return the attributes of a file that change with a rename, a new link or new permissions, but not with the
    content."""
    return facts.st_nlink, facts.st_mode, facts.st_uid, facts.st_gid


def _path_of(local: LocalSource) -> str:
    return local.file.path_now()


__all__ = ["ContentGuard", "guarded"]
