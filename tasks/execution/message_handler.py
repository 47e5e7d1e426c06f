"""Handles a worker's messages: acquires a job, runs one attempt under its lease, and ends, postpones or requeues it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import StrEnum
from secrets import token_hex
from typing import Any, Final, TypeVar

import structlog

from tasks.broker.message_validation import JobRequest, MessageRefused, job_request
from tasks.execution.attempt import AttemptRunner, Pipeline
from tasks.execution.job_reporter import JobReporter
from tasks.execution.job_retry_policy import FailedAttempt, Retry, decide
from tasks.execution.key_gate import KeyGate
from tasks.execution.lease_renewer import LeaseRenewer
from tasks.execution.redis_outage import RELEASE_TIMEOUT_S, Acquirer, release_after_outage
from tasks.job_spec import JobSpec, job_id, recorded
from worker import metrics, tracing
from worker.backoff import exponential_s, jittered
from worker.errors import (
    AccessRefused,
    LeaseLost,
    LedgerRefused,
    LedgerUnavailable,
    SourceError,
    WorkerShortage,
)
from worker.ledger.command_limit import command_limit
from worker.ledger.event_stream import EventStream
from worker.ledger.key_breaker import KeyBreaker
from worker.ledger.lease import Lease, LeaseNotRenewed
from worker.ledger.ledger import Ledger
from worker.pipeline.run import run
from worker.realtime.fair_pool import FairPool
from worker.realtime.slots import Slots, UnlimitedSlots
from worker.settings import Settings
from worker.storage.sources.identify import SourceIdentifier

logger = structlog.get_logger(__name__)
T = TypeVar("T")
REQUEUE_PAUSE_S: Final = 2.0
"""Seconds until a message is requeued while Redis is unreachable. Without this pause the message would return at once,
again and again."""
MAX_REQUEUE_PAUSE_S: Final = 60.0
MAX_REQUEUES: Final = 10
"""Maximum number of times in a row that the message of a job is requeued while Redis is unreachable. Then it is
dropped, and the reaper sends a new one."""
# Limits the memory of the requeue counters. When there are more counters, all of them are deleted, so some jobs can be
# requeued more often than the limit.
MAX_REQUEUED_JOBS: Final = 10_000
KEY_PAUSE_S: Final = 1.0
"""Seconds until a job whose key is paused joins the queue again, where it waits for the key."""


class _Draining(Exception):
    """Raised when the worker must stop before it has recorded the job of a message."""


class Outcome(StrEnum):
    """Result of handling one message."""

    ENDED = "ended"
    """The job has ended. The ledger has its state."""
    POSTPONED = "later"
    """The attempt failed, and another one follows after a pause. Then the reaper, which searches the ledger for jobs
    that need a worker, sends a message for the job."""
    SKIPPED = "skipped"
    """The message needed no work: another worker runs the job, or the job had ended."""
    RESENT = "sent again"
    """A new message was sent for the job, so that a worker runs it later."""
    REQUEUED = "back"
    """The caller must requeue this message, so that a worker runs the job later."""


class MessageHandler:
    """Runs all jobs of one worker process. Its methods run on the event loop of the process."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        pipeline: Pipeline = run,
        wake: Callable[[str], None] | None = None,
        slots: Slots | None = None,
        events: EventStream | None = None,
        breaker: KeyBreaker | None = None,
    ) -> None:
        """`wake`: sends a message for the job with the given id; may block, and may raise LedgerUnavailable. `slots`:
        limits the number of open sessions of all workers together, or None for no limit. `breaker`: pauses jobs while
        the service refuses the key; if it is None, the jobs fail."""
        self._wake = wake
        self._events = events
        self._settings = settings
        self._ledger = ledger
        self._gate = KeyGate(slots or UnlimitedSlots(), breaker, events)
        self._pool = FairPool(settings.worker_sessions, self._gate)
        self._attempt_runner = AttemptRunner(settings, ledger, pipeline, self._pool)
        # The host and the process id are for people. The random part makes the name unique: a container often has the
        # same host name and process id after a restart.
        self._acquirer = Acquirer(ledger, f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}")
        self._running: set[asyncio.Task[Outcome]] = set()
        self._renewer = LeaseRenewer(settings, ledger)
        self._drained = asyncio.Event()
        self._identifier = SourceIdentifier(settings, settings.intake_timeout_s)
        self._requeues: dict[str, int] = {}
        """Number of times in a row that the message of a job was requeued, by job id (or by source, for a job without
        an id)."""

    def drain(self) -> None:
        """Start no more jobs and release the running ones. Another worker continues them after their last commit."""
        self._drained.set()
        for task in self._running:
            task.cancel()

    def waiting_for_session(self) -> list[str]:
        """Return the ids of the running jobs that wait for their first session."""
        return self._pool.waiting_jobs()

    async def renew_leases(self) -> None:
        """Renew the leases of all running jobs. Raises LedgerUnavailable."""
        await self._renewer.renew_all()

    async def perform(self, name: Any, inline: Any = None) -> Outcome:
        """Handle one message. `name`: id of a job, or None; `inline`: a whole job as the fields of JobSpec, or None. A
        whole job is recorded in the ledger. Then the worker runs the first job in the queue of the ledger, which may
        not be the job that the message names."""
        try:
            request = job_request((), {"job_id": name, "job": inline})
        except MessageRefused as exc:
            return await self._refuse(name, inline, str(exc))
        whole = request.job_id or str((request.job or {}).get("source"))
        try:
            identity = await self._record(request)
            if request.job is not None:
                self._requeues.pop(whole, None)
        except _Draining:
            return Outcome.REQUEUED
        except LedgerRefused as exc:
            return await self._refuse(name, inline, str(exc))
        except (LedgerUnavailable, WorkerShortage) as exc:
            logger.warning("the job in a message cannot be recorded now, the message is requeued", error=str(exc))
            return await self._requeue_whole(whole)
        return await self._perform(identity)

    async def _refuse(self, name: Any, inline: Any, reason: str) -> Outcome:
        """Log a message that can never be executed and add it to the dead letters."""
        job = name if isinstance(name, str) else ""
        logger.warning("message refused", job=job or None, reason=reason)
        metrics.MESSAGES_REFUSED.inc()
        # `default=str`: a refused message may contain values that JSON cannot represent.
        raw = json.dumps({"job_id": name, "job": inline}, default=str).encode()
        try:
            await self._ledger.dead_letters.add(raw, self._settings.queue, reason, job)
        except LedgerUnavailable as exc:
            logger.error("a refused message is not in the dead letters", error=str(exc))  # noqa: TRY400
        return Outcome.SKIPPED

    async def _requeue_whole(self, identity: str) -> Outcome:
        """Return REQUEUED after a pause that grows with each requeue of this message. Used for a message with a whole
        job that could not be recorded in the ledger. Such a message is never dropped, because only the message contains
        the job."""
        times = self._count_requeue(identity)
        await self._wait_or_drain(exponential_s(times - 1, REQUEUE_PAUSE_S, MAX_REQUEUE_PAUSE_S))
        return Outcome.REQUEUED

    def _count_requeue(self, identity: str) -> int:
        """Count a requeue of the message of a job. Returns the number of requeues in a row."""
        if len(self._requeues) > MAX_REQUEUED_JOBS:
            self._requeues.clear()
        self._requeues[identity] = self._requeues.get(identity, 0) + 1
        return self._requeues[identity]

    def _may_requeue(self, identity: str) -> bool:
        """Count a requeue of the message of a job in the ledger. Returns False if the message must be dropped, because
        it was already requeued MAX_REQUEUES times in a row. Always True while the worker drains."""
        if self._count_requeue(identity) <= MAX_REQUEUES or self._drained.is_set():
            return True
        del self._requeues[identity]
        logger.warning("message dropped, the search for lost jobs sends a new one", job=identity, returns=MAX_REQUEUES)
        return False

    async def _perform(self, identity: str) -> Outcome:
        try:
            outcome = await self._run_leased(identity)
        except LedgerRefused as exc:
            # Do not requeue: Redis would refuse the same command again. If the job is intact, the reaper finds it.
            return await self._refuse(identity, None, str(exc))
        except LedgerUnavailable as exc:
            # If this worker had already acquired the job, the reaper finds it when the lease has expired.
            logger.warning("Redis is unreachable, the job is left to another worker", error=str(exc))
            if not self._may_requeue(identity):
                return Outcome.SKIPPED
            await self._wait_or_drain(REQUEUE_PAUSE_S)
            return await self._resend(identity)
        except asyncio.CancelledError:
            if not self._drained.is_set():
                raise
            return await self._resend(identity)
        self._requeues.pop(identity, None)
        return outcome

    async def _resend(self, identity: str) -> Outcome:
        """Send a new message for the job. Returns RESENT, or REQUEUED if the message could not be sent. Requeuing the
        current message is not enough: that message no longer exists if its connection broke, or if a duplicate of it
        was acknowledged. A superfluous message does no harm."""
        if self._wake is None:
            return Outcome.REQUEUED
        try:
            await asyncio.to_thread(self._wake, identity)
        except LedgerUnavailable as exc:
            logger.warning("no new message sent", job=identity, error=str(exc))
            return Outcome.REQUEUED
        return Outcome.RESENT

    async def _record(self, request: JobRequest) -> str:
        """Record the job of a message in the ledger, as `tasks.submit` does, if the message contains a whole job.
        Returns the id of the job."""
        identity = request.job_id
        if request.job is None:
            return str(identity)
        spec, content = JobSpec.model_validate(request.job), ""
        if identity is None:
            try:
                content, _ = await self._until_drained(self._identifier.content_of(spec.source))
            except (SourceError, WorkerShortage):
                # Record the job anyway: the pipeline will raise the same error, and then the ledger records why the job
                # failed.
                content = f"unreadable:{spec.source.text}"
            identity = job_id(spec, content)
        await self._ledger.create(identity, spec.model_dump_json(), batch=spec.batch, content=content)
        return identity

    async def _until_drained(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work`, which may take long, and return its result. Raises _Draining if the worker must stop before
        `work` has ended."""
        working, drained = asyncio.create_task(work), asyncio.create_task(self._drained.wait())
        try:
            await asyncio.wait((working, drained), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise _Draining
            return await working
        finally:
            working.cancel()
            drained.cancel()

    async def _run_leased(self, identity: str) -> Outcome:
        if self._drained.is_set():
            return Outcome.REQUEUED
        try:
            probe = await self._until_drained(self._gate.enter())
        except _Draining:
            return Outcome.REQUEUED
        try:
            return await self._run_next(identity, probe)
        finally:
            await self._gate.leave(probe)

    async def _run_next(self, identity: str, probe: str) -> Outcome:
        """Acquire the first job of the queue and run an attempt at it. `probe`: the token of a probe, or ""."""
        # This call is not part of the task that `drain` cancels: without its result the job could not be released.
        lease = await self._acquirer.acquire(identity)
        if not isinstance(lease, Lease):
            logger.info("job skipped", job=identity, reason=str(lease))
            return Outcome.SKIPPED
        self._gate.begin(probe, lease.job_id)
        # A separate task, so that `drain` can cancel the attempt and this method can still release the lease.
        running = asyncio.create_task(self._run(lease))
        self._running.add(running)
        try:
            # `drain` may have been called while `acquire_next` waited for Redis, before `_running` had this task.
            if self._drained.is_set():
                running.cancel()
            with self._renewer.holding(lease):
                return await running
        except asyncio.CancelledError:
            if self._drained.is_set():
                await self._release(lease)
            raise
        except LedgerRefused:
            raise
        except (LedgerUnavailable, LeaseNotRenewed) as exc:
            logger.warning(
                "Redis is unreachable, the job is requeued when Redis answers", job=lease.job_id, error=str(exc)
            )
            if not await release_after_outage(lease, self._wait_or_drain, self._drained.is_set):
                return Outcome.SKIPPED
            return await self._resend(lease.job_id)
        except LeaseLost as exc:
            logger.warning("lease lost, the job is left to another worker", job=lease.job_id, error=str(exc))
            return Outcome.SKIPPED
        finally:
            self._running.discard(running)

    async def _run(self, lease: Lease) -> Outcome:
        # Add the job id to every log line of this task and of the tasks that it starts.
        structlog.contextvars.bind_contextvars(job=lease.job_id)
        log = logger.bind(job=lease.job_id, epoch=lease.epoch)
        log.info("job started", attempt=lease.attempts, commits=lease.commits)
        reporter = JobReporter(lease, self._events)
        most = self._attempt_runner.max_attempts(lease)
        # A worker that was killed left no error to decide on. So the number of attempts alone ends a job that kills its
        # workers.
        if lease.tries > most:
            log.warning("job failed after too many attempts", attempts=lease.attempts)
            await reporter.fail("attempts", f"given up: {most} workers in a row stopped while they ran it")
            return Outcome.ENDED
        try:
            spec = recorded(lease.spec)
            reporter.started()
            with tracing.span("job", job_id=lease.job_id, attempt=lease.attempts, commits_before=lease.commits) as span:
                transcript, outputs = await self._renewer.run(lease, self._attempt_runner.run(lease, spec, reporter))
                span.set(audio_s=transcript.coverage.duration, missing=len(transcript.coverage.missing))
        # These errors are not caused by the job. The callers leave the job to another worker.
        except (LeaseLost, LedgerUnavailable):
            raise
        except Exception as exc:  # noqa: BLE001  an unexpected error in one job must not end the others
            return await self._fail_or_postpone(lease, reporter, exc)
        else:
            # Outside the `try`: an error in recording the end is no failed attempt.
            await reporter.finish(transcript, outputs)
            log.info(
                "job done" if transcript.coverage.complete else "job incomplete",
                segments=len(transcript.segments),
                missing=len(transcript.coverage.missing),
                seconds=round(transcript.elapsed, 1),
            )
        return Outcome.ENDED

    async def _fail_or_postpone(self, lease: Lease, reporter: JobReporter, exc: Exception) -> Outcome:
        """Handle the error `exc` of an attempt: end the job as failed, or postpone it until another attempt."""
        if isinstance(exc, AccessRefused):
            await self._gate.refused(lease.job_id, exc)
        if isinstance(exc, AccessRefused) and self._gate.pauses:
            # The refusal of the key is not the fault of the job. The job stays in the queue, with the reason, until the
            # key works again.
            waits = Retry(KEY_PAUSE_S, exc.code, str(exc), "job waits, its key is paused", counted=False)
            return await self._postpone(lease, waits)
        decision = decide(exc, self._facts(lease), self._settings.job_backoff_s)
        if isinstance(decision, Retry):
            return await self._postpone(lease, decision)
        if decision.unexpected:
            logger.error("job failed on an unexpected error", job=lease.job_id, exc_info=exc)
        else:
            logger.warning("job failed", job=lease.job_id, code=decision.code, error=decision.reason)
        await reporter.fail(decision.code, decision.reason)
        return Outcome.ENDED

    def _facts(self, lease: Lease) -> FailedAttempt:
        return FailedAttempt(
            tries=lease.tries,
            max_tries=self._attempt_runner.max_attempts(lease),
            shortages=lease.shortages,
            unread=lease.unread,
            restarts=lease.content.restarts,
            keyed=lease.content.keyed,
        )

    async def _postpone(self, lease: Lease, retry: Retry) -> Outcome:
        logger.warning(
            retry.message,
            job=lease.job_id,
            error=retry.reason,
            code=retry.code,
            retry_in_s=round(retry.delay_s, 1),
        )
        await lease.postpone(retry.delay_s, retry.code, retry.reason, counted=retry.counted, restart=retry.start_over)
        metrics.RETRIES.labels("job", retry.code).inc()
        return Outcome.POSTPONED

    async def _wait_or_drain(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(jittered(seconds, spread=0.1)):
                await self._drained.wait()

    async def _release(self, lease: Lease) -> None:
        try:
            # If the release fails, the job only waits until its lease expires. So the shutdown does not wait longer for
            # the release.
            with command_limit(RELEASE_TIMEOUT_S):
                await lease.release()
            logger.info("job released", job=lease.job_id)
        except (LedgerUnavailable, LeaseLost) as exc:
            logger.warning("job not released, its lease will expire", job=lease.job_id, error=str(exc))
