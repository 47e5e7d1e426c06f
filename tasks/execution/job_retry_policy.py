"""Decides what follows a failed attempt at a job: another attempt after a pause, or the failure of the job (pure).

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
"""Maximum attempts in a row that end because of a shortage; about a day with the pauses between them."""
MAX_UNREAD: Final = 150
"""Maximum attempts in a row by workers that are too old for the job; about an hour."""
MAX_RESTARTS: Final = 5
"""Maximum restarts of a job with an idempotency key because its source has changed."""
UNREAD_PAUSE: Final = 3.0
"""Longest pause before a job that needs a newer worker is offered again, as a multiple of STT_JOB_BACKOFF_S."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """Facts about the job at the end of an attempt that failed."""

    tries: int
    """Attempts in a row without a commit, this one included."""
    max_tries: int
    shortages: int
    """Attempts before this one, in a row, that ended because of a shortage of their worker."""
    unread: int
    """Attempts before this one, in a row, by workers that were too old for the job."""
    restarts: int
    """Times the job was started over because its source had changed."""
    keyed: bool
    """Whether an idempotency key names the job, so that it stands for any content of its source."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Another attempt, after a pause."""

    delay_s: float
    code: str
    reason: str
    message: str
    """The log message."""
    counted: Literal[True, "unread", "shortages"] = True
    """The counter that the attempt increments. True means the ordinary attempts: at their maximum the job fails."""
    start_over: bool = False
    """Whether the committed text is deleted before the next attempt."""


@dataclass(frozen=True, slots=True)
class Fail:
    """The job has failed."""

    code: str
    reason: str
    unexpected: bool = False
    """Whether the error is a bug, because it is not an SttError."""


def decide(exc: Exception, job: FailedAttempt, first_pause_s: float) -> Retry | Fail:
    """Decide what follows `exc`. `first_pause_s`: the setting STT_JOB_BACKOFF_S."""
    # A shortage is not the fault of the job, so it costs none of the job's attempts.
    shortage = shortage_of(exc)
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
        # While workers are replaced one by one, some of them are new enough already.
        if job.unread < MAX_UNREAD:
            return Retry(pause_s(0, UNREAD_PAUSE), code, reason, "job left to a newer worker", counted="unread")
        return Fail(code, f"{reason}; {MAX_UNREAD} times no worker took it")
    if isinstance(exc, SourceChanged) and job.keyed and job.restarts < MAX_RESTARTS:
        return Retry(pause_s(0), code, reason, "job starts over", start_over=True)
    if exc.retryable and job.tries < job.max_tries:
        return Retry(pause_s(job.tries - 1), code, reason, "attempt failed")
    return Fail(code, reason)


__all__ = ["Fail", "FailedAttempt", "Retry", "decide"]
