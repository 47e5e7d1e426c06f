"""Decides how to continue after a failed attempt at a job: with another attempt after a pause, or with the failure of
the job. No I/O.

Pauses grow exponentially with jitter, so that jobs that failed together are not retried together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from worker.backoff import backoff_s
from worker.errors import JobNewer, SourceChanged, SttError
from worker.transient_os_errors import shortage_of

MAX_BACKOFF_S: Final = 600.0
"""Longest pause between two attempts at a job, in seconds."""
MAX_SHORTAGES: Final = 150
"""Maximum number of attempts in a row that end because the worker lacks a resource, such as disk space. With the pauses
between them they take about a day."""
MAX_UNREAD: Final = 150
"""Maximum number of attempts in a row by workers whose version is too old for the job. With the pauses between them
they take about an hour."""
MAX_RESTARTS: Final = 5
"""Maximum number of times that a job with an idempotency key starts over because its source has changed."""
UNREAD_PAUSE: Final = 3.0
"""Longest pause until the next attempt at a job that needs a newer worker, as a multiple of STT_JOB_BACKOFF_S."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """Facts about the job at the end of an attempt that failed."""

    tries: int
    """Number of attempts in a row without a commit, including this one."""
    max_tries: int
    shortages: int
    """Number of attempts in a row before this one that ended because their worker lacked a resource."""
    unread: int
    """Number of attempts in a row before this one by workers whose version was too old for the job."""
    restarts: int
    """Number of times the job has started over because its source had changed."""
    keyed: bool
    """Whether the id of the job is an idempotency key. The job is then independent of the content of its source, so it
    may start over when the content changes."""


@dataclass(frozen=True, slots=True)
class Retry:
    """The decision to make another attempt after a pause."""

    delay_s: float
    code: str
    reason: str
    message: str
    """The message to log."""
    counted: Literal[True, False, "unread", "shortages"] = True
    """Which counter this attempt increments. True: the counter of ordinary attempts, at whose maximum the job fails."""
    start_over: bool = False
    """Whether the committed text is deleted before the next attempt."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The decision that the job has failed."""

    code: str
    reason: str
    unexpected: bool = False
    """Whether the error is a bug, because it is not an SttError."""


def decide(exc: Exception, job: FailedAttempt, first_pause_s: float) -> Retry | Fail:
    """Decide how to continue after an attempt that ended with `exc`. `first_pause_s`: the setting STT_JOB_BACKOFF_S."""
    # If the worker lacks a resource, that is not the fault of the job, so it has its own counter of attempts.
    shortage = shortage_of(exc)
    # Above the maximum, the error is treated as an ordinary error. Otherwise a job would never end on a worker that
    # does not recover.
    if shortage is not None and job.shortages < MAX_SHORTAGES:
        delay_s = backoff_s(job.shortages, first_pause_s, MAX_BACKOFF_S)
        return Retry(delay_s, shortage.code, str(shortage), "worker is short of something", counted="shortages")
    if isinstance(exc, SttError):
        return _decide_known(exc, job, first_pause_s)
    return Fail("internal", f"unexpected {type(exc).__name__}: {exc}", unexpected=True)


def _decide_known(exc: SttError, job: FailedAttempt, first_pause_s: float) -> Retry | Fail:
    def pause_s(failures: int, factor: float = 1.0) -> float:
        return backoff_s(failures, factor * first_pause_s, MAX_BACKOFF_S)

    code, reason = exc.code, str(exc)
    if isinstance(exc, JobNewer):
        # Try again, because some workers are already new enough for the job while workers are replaced one by one.
        if job.unread < MAX_UNREAD:
            return Retry(pause_s(0, UNREAD_PAUSE), code, reason, "job left to a newer worker", counted="unread")
        return Fail(code, f"{reason}; {MAX_UNREAD} times no worker took it")
    if isinstance(exc, SourceChanged) and job.keyed and job.restarts < MAX_RESTARTS:
        return Retry(pause_s(0), code, reason, "job starts over", start_over=True)
    # `tries` starts again at 0 with each commit: a long job may fail often if it makes progress in between.
    if exc.retryable and job.tries < job.max_tries:
        return Retry(pause_s(job.tries - 1), code, reason, "attempt failed")
    return Fail(code, reason)


__all__ = ["Fail", "FailedAttempt", "Retry", "decide"]
