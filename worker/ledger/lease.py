"""The lease: a worker's exclusive, expiring right to write one job.

Every write carries the epoch of the lease: a number that rises with every lease of the job, and when the job is
cancelled or paused. Redis refuses a write with an old epoch, so a worker that lost its lease without noticing (a
zombie) cannot write. A write also carries the owner: if a failover of Redis loses an acquisition, the next one gets the
same epoch, but has another owner.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from pydantic import TypeAdapter

from worker.errors import LeaseLost, LedgerUnavailable
from worker.job_progress import Progress
from worker.ledger.command_limit import command_limit
from worker.ledger.connection import RedisConnection
from worker.ledger.records import MAX_WARNINGS, ContentRecord, JobState
from worker.transcript.model import Gap, SectionFacts, Segment, Transcript

_LOG: Final = logging.getLogger(__name__)
SECTIONS: Final = TypeAdapter(dict[int, SectionFacts])
MAX_RECENT_COMMITS: Final = 256
"""Maximum of the last commits of a job in memory, for the case that a failover of Redis loses them."""
MAX_REASON_CHARACTERS: Final = 2000
"""Maximum characters of a stored reason, warning or partial text; the rest is cut off."""


class LeaseNotRenewed(LeaseLost):
    """Redis did not answer until the lease ended, so it could not be renewed. Another worker may own the job."""


class _Commit(NamedTuple):
    """The arguments of the script `commit` for one commit."""

    number: int
    segment: str
    committed_s: float


class Lease:
    """One worker's lease of a job. Implements `worker.pipeline.job.JobLog`, the durable record of a pipeline run.

    `Ledger.acquire` creates it. Every method that writes to Redis raises LeaseLost if this worker does not own the job
    any more: another worker owns it, or the job was cancelled or paused. It raises LedgerUnavailable when Redis does
    not answer.
    """

    def __init__(
        self,
        connection: RedisConnection,
        keys: Sequence[str],
        *,
        job_id: str,
        epoch: str,
        owner: str,
        spec: str,
        attempts: int,
        commits: int,
        tries: int,
        transcribed: bool,
        unread: int,
        shortages: int,
        content: ContentRecord,
        lease_s: float,
        unfinished_ttl: timedelta,
        result_ttl: timedelta,
    ) -> None:
        self.job_id = job_id
        self.epoch = int(epoch)
        self.owner = owner
        self.spec = spec
        self.attempts = attempts
        self.tries = tries
        """Attempts in a row without a commit, including this attempt; 0 once this attempt has committed."""
        self.transcribed = transcribed
        """Whether the finished transcript is stored in Redis already, so that only the output files are missing."""
        self.unread = unread
        """Number of earlier attempts by older workers that could not process the job, because it has fields that their
        version does not know."""
        self.shortages = shortages
        """Attempts in a row that ended because their worker lacked memory, disk space or file descriptors."""
        self.content = content
        self.lost = asyncio.Event()
        """Set by the lease renewer (`tasks.execution.lease_renewer`) when the lease is lost; `renew_every` then raises
        at once."""
        # The monotonic clock, because a correction of the wall clock must neither end a lease nor extend it.
        self.renewed_at = time.monotonic()
        """Monotonic time of the last successful renewal, in seconds."""
        self._connection = connection
        self._keys = keys
        self._lease_s = lease_s
        self._unfinished_ms = int(unfinished_ttl.total_seconds() * 1000)
        self._result_ms = int(result_ttl.total_seconds() * 1000)
        self.commits = commits
        """Number of commits of the job, including those of earlier owners."""
        self.sections: dict[int, SectionFacts] = {}
        """The finished sections of the source by number, including those that earlier owners finished."""
        self.sectioned = False
        """Whether the source is streamed in sections. Commits are then not in order of time, so `committed_s` of the
        record is taken from the progress passed to `note`, not from the end of the last segment."""
        # Sections commit at the same time, but the number of a commit must not be used twice.
        self._committing = asyncio.Lock()
        self._recent: deque[_Commit] = deque(maxlen=MAX_RECENT_COMMITS)
        self._noted: Progress | None = None
        self._unwritten = False

    async def renew(self) -> None:
        """Extend the lease, so that it ends STT_LEASE_S from now."""
        await self._fenced("renew", self._term())

    async def renew_every(self, renew_s: float) -> None:
        """Renew the lease every `renew_s` seconds. Raises LeaseLost when it is lost, and LeaseNotRenewed when no
        renewal has succeeded for STT_LEASE_S because Redis did not answer."""
        while True:
            # A timeout is the normal case. It means that the time until the next renewal has passed.
            with suppress(TimeoutError):
                async with asyncio.timeout(renew_s):
                    await self.lost.wait()
                    raise LeaseLost(f"job {self.job_id}: another worker owns it now, or it was cancelled or paused")
            try:
                # Before the call: Redis counts the term from a moment during the call, not after it.
                now = time.monotonic()
                # A server that hangs must not delay the end of the attempt beyond the end of the lease. redis-py can
                # lose the cancellation of `asyncio.timeout`.
                with command_limit(max(0.1, self.renewed_at + self._lease_s - now + 0.01)):
                    await self.renew()
                self.renewed_at = now
            except LedgerUnavailable as exc:
                # Redis may have granted the job to another worker by now. Stop before both stream it.
                if time.monotonic() - self.renewed_at > self._lease_s:
                    raise LeaseNotRenewed(f"job {self.job_id}: the lease could not be renewed: {exc}") from exc
                _LOG.warning("job %s: lease not renewed: %s", self.job_id, exc)

    async def commit(self, segment: Segment) -> None:
        """Append one segment to the job's stream of commits, and return when Redis has stored it.

        Each segment has a number. If the same command is sent twice, Redis therefore stores the segment only once."""
        async with self._committing:
            # Increased only after Redis has answered: a repeated command has the same number and is stored once.
            number = self.commits + 1
            # Sections finish out of order, so the end of this segment says nothing about the text before it.
            noted_s = self._noted.committed_s if self._noted is not None else 0.0
            committed_s = noted_s if self.sectioned else segment.end
            commit = _Commit(number, segment.model_dump_json(), committed_s)
            await self._in_order("commit", [*self._term(), *commit])
            self._recent.append(commit)
            self.commits, self.tries, self.shortages = number, 0, 0

    async def record_content(self, content: str, named: str) -> None:
        """Record the content of the source at the start of the attempt. `content`: a StartContent as JSON.

        `named`: the content as `content_of` returns it, or "". It becomes the job's content if that is unknown."""
        fields = ["began", content]
        # An id that was computed from a content must always mean that content. An idempotency key does not depend on
        # the content.
        if named and not self.content.keyed and self.content.named in ("", "*"):
            fields += ["content", named]
        await self._fenced("progress", [*self._term(), *fields])

    async def record_plans(self, plans: str) -> None:
        """Record how the source is divided into sections (JSON), so that the next attempt uses the same sections."""
        self.sectioned = True
        await self._fenced("progress", [*self._term(), "plan", plans])

    async def record_section(self, section: int, facts: SectionFacts) -> None:
        """Record that the section with this number is complete."""
        self.sections[section] = facts
        await self._fenced("progress", [*self._term(), "sections", SECTIONS.dump_json(self.sections).decode()])

    def note(self, progress: Progress) -> None:
        """Store the progress in memory only. `Ledger.write_progress`, or the end of the job, writes it to Redis."""
        self._noted, self._unwritten = progress, True

    def progress_call(self) -> tuple[Sequence[str], Sequence[int | str | float]]:
        """Return the keys and arguments of a call of `progress.lua`.

        The script checks that this worker still owns the job, extends the lease, and writes the progress that `note`
        stored since the last call, if any."""
        news = _fields(self._noted) if self._unwritten else ()
        # Cleared before the write. If the write is lost, the next progress replaces it a few seconds later.
        self._unwritten = False
        return self._keys, (self.job_id, self.epoch, self.owner, *self._term(), *news)

    async def progress(self, progress: Progress) -> None:
        """Write `progress` to Redis at once."""
        await self._fenced("progress", [*self._term(), *_fields(progress)])

    async def release(self) -> None:
        """Requeue the job at once, without counting the attempt."""
        await self._fenced("release", [self._unfinished_ms])

    async def postpone(
        self,
        delay_s: float,
        code: str = "",
        reason: str = "",
        *,
        counted: bool | Literal["unread", "shortages"] = True,
        restart: bool = False,
    ) -> None:
        """Requeue the job after `delay_s` seconds; then `Ledger.reap` moves it to the queue.

        `code` and `reason`: stored as the error of the attempt. `counted`: which counters of the record are raised by
        one. True raises `attempts` and `tries`; the name `unread` or `shortages` raises only the counter with that
        name. `restart`: delete the committed text, so that the next attempt starts over."""
        # A service may answer with megabytes of text, and every listing of jobs reads the reason.
        reason, how = reason[:MAX_REASON_CHARACTERS], counted if isinstance(counted, str) else int(counted)
        await self._fenced("postpone", [self._unfinished_ms, int(delay_s * 1000), how, code, reason, int(restart)])

    async def store_transcript(self, transcript: Transcript) -> None:
        """Store the finished transcript of a job whose output files could not be written.

        The next attempt then only writes the files."""
        await self._fenced("store_transcript", [*self._term(), transcript.model_dump_json()], durable=True)
        self.transcribed, self.tries = True, 0

    async def finish(self, transcript: Transcript, outputs: Sequence[str]) -> None:
        """Store the transcript and end the job, in one atomic step.

        The state of the job becomes `done`, or `incomplete` if the transcript does not cover all of the audio.
        `outputs`: paths and addresses of the written files."""
        missing = transcript.coverage.missing
        state = JobState.DONE if transcript.coverage.complete else JobState.INCOMPLETE
        code = "" if state is JobState.DONE else str(state)
        reason = "; ".join(f"{gap.start:.1f}–{gap.end:.1f} s{_of(gap)} missing: {gap.reason}" for gap in missing)
        warnings = [warning[:MAX_REASON_CHARACTERS] for warning in transcript.warnings[:MAX_WARNINGS]]
        # `duration_s` is written again: the decoded length may differ from the length in the header of the file.
        found: list[str | float] = ["duration_s", transcript.coverage.duration, "warnings"]
        found.append(json.dumps(warnings, ensure_ascii=False))
        if transcript.quality is not None:
            # Also in the record, so that `status` can list doubtful jobs without reading their transcripts.
            found += ["quality", transcript.quality.model_dump_json()]
        if transcript.streamed is not None:
            found += ["streamed_s", transcript.streamed.audio, "streaming_s", transcript.streamed.time]
        await self._end(state, transcript.model_dump_json(), outputs, code, reason[:MAX_REASON_CHARACTERS], found)

    async def fail(self, code: str, reason: str) -> None:
        """End the job as failed. `code`: the `code` of an exception of `worker.errors`; `reason`: text for people."""
        await self._end(JobState.FAILED, "", (), code, reason[:MAX_REASON_CHARACTERS])

    async def _end(
        self,
        state: JobState,
        document: str,
        outputs: Sequence[str],
        code: str,
        reason: str,
        found: Sequence[str | float] = (),
    ) -> None:
        """End the job in one atomic step. `document`: the transcript as JSON, or empty for a job without one.

        `found`: fields of the record, as alternating names and values. These fields are written after the progress that
        was passed to `note`, so they override the same fields of that progress."""
        names = json.dumps(list(outputs))
        # One script writes transcript, state and end, so no reader sees a job that is done without a transcript.
        args = [self.commits, state, self._result_ms, document, names, code, reason, *_fields(self._noted), *found]
        await self._in_order("finish", args)

    def _term(self) -> list[int | str | float]:
        """Return the arguments `lease_ms` and `ttl_ms` of the Lua scripts, in milliseconds."""
        return [int(self._lease_s * 1000), self._unfinished_ms]

    async def _in_order(self, script: str, args: Sequence[int | str | float]) -> None:
        """Run the script `commit` or `finish`. If a failover of Redis has lost the last commits, append them again
        first. Raises LeaseLost, also if they are not in memory any more: the next attempt then transcribes them."""
        while (stored := await self._fenced(script, args, durable=True)) is not None:
            lost = [commit for commit in self._recent if commit.number > stored]
            if not lost or lost[0].number != stored + 1:
                with suppress(LeaseLost):
                    await self.release()
                raise LeaseLost(f"job {self.job_id}: a failover of Redis lost its commits after number {stored}")
            _LOG.warning("job %s: a failover of Redis lost %s commits; they are appended again", self.job_id, len(lost))
            for commit in lost:
                await self._fenced("commit", [*self._term(), *commit], durable=True)

    async def _fenced(self, script: str, args: Sequence[int | str | float], *, durable: bool = False) -> int | None:
        """Run a script that writes only if this lease is still valid. Raises LeaseLost if it is not.

        Returns None, or the number of stored commits if the script wrote nothing because earlier commits are missing.
        `durable`: as in RedisConnection."""
        keyed = (self.job_id, self.epoch, self.owner, *args)
        answer = await self._connection.script(script, self._keys, keyed, durable=durable)
        if isinstance(answer, str) and answer.startswith("behind "):
            return int(answer.removeprefix("behind "))
        # The answer to a repeated command is 1 as well, so a lost answer is not taken for a lost lease.
        if answer != 1:
            from worker import metrics  # noqa: PLC0415  producers load this module too, and need no metrics

            metrics.STALE_WRITES.inc()
            raise LeaseLost(f"job {self.job_id}: another worker owns it now, or it was cancelled or paused")
        return None


def _of(gap: Gap) -> str:
    return f" of {gap.channel}" if gap.channel else ""


def _fields(progress: Progress | None) -> tuple[str | float, ...]:
    """Return the fields of the record for `progress`, as alternating names and values."""
    if progress is None:
        return ()
    return (
        *("duration_s", progress.duration_s),
        *("sent_s", progress.sent_s),
        *("committed_s", progress.committed_s),
        # The end of a partial text is the newest, so the beginning is cut off.
        *("partial", progress.partial[-MAX_REASON_CHARACTERS:]),
        *("speed", progress.speed),
        *("trouble", progress.trouble[:MAX_REASON_CHARACTERS]),
    )
