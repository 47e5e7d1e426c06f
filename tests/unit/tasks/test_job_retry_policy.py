"""The retry policy for failed attempts at a job, as a table and as properties."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.execution.job_retry_policy import (
    MAX_BACKOFF_S,
    MAX_RESTARTS,
    MAX_SHORTAGES,
    MAX_UNREAD,
    Fail,
    FailedAttempt,
    Retry,
    decide,
)
from worker.errors import BadJob, EndpointUnavailable, JobNewer, SourceChanged, WorkerShortage

JOB = FailedAttempt(tries=1, max_tries=5, shortages=0, unread=0, restarts=0, keyed=False)
FIRST_S = 10.0


@pytest.mark.parametrize(
    ("exc", "job", "counted", "start_over"),
    [
        (EndpointUnavailable("away"), JOB, True, False),
        (EndpointUnavailable("away"), replace(JOB, tries=4), True, False),
        (WorkerShortage("no memory"), replace(JOB, tries=5), "shortages", False),
        (MemoryError(), JOB, "shortages", False),
        (OSError(errno.EMFILE, "too many open files"), JOB, "shortages", False),
        (JobNewer("a field of a later version"), replace(JOB, tries=5), "unread", False),
        (SourceChanged("other content"), replace(JOB, keyed=True), True, True),
    ],
)
def test_an_attempt_that_is_retried(exc: Exception, job: FailedAttempt, counted: object, start_over: bool) -> None:
    decision = decide(exc, job, FIRST_S)
    assert isinstance(decision, Retry)
    assert (decision.counted, decision.start_over) == (counted, start_over)


@pytest.mark.parametrize(
    ("exc", "job", "code", "unexpected"),
    [
        (EndpointUnavailable("away"), replace(JOB, tries=5), EndpointUnavailable.code, False),
        (BadJob("no such format"), JOB, BadJob.code, False),
        (ZeroDivisionError("a bug"), JOB, "internal", True),
        (JobNewer("too new"), replace(JOB, unread=MAX_UNREAD), JobNewer.code, False),
        (SourceChanged("other content"), JOB, SourceChanged.code, False),
        (SourceChanged("other content"), replace(JOB, keyed=True, restarts=MAX_RESTARTS), SourceChanged.code, False),
        (MemoryError(), replace(JOB, shortages=MAX_SHORTAGES), "internal", True),
    ],
)
def test_a_job_that_fails(exc: Exception, job: FailedAttempt, code: str, unexpected: bool) -> None:
    decision = decide(exc, job, FIRST_S)
    assert isinstance(decision, Fail)
    assert (decision.code, decision.unexpected) == (code, unexpected)


@given(st.integers(1, 1000), st.floats(0.1, 600))
def test_pauses_grow_up_to_a_maximum(tries: int, first_s: float) -> None:
    decision = decide(EndpointUnavailable("away"), replace(JOB, tries=tries, max_tries=2000), first_s)
    assert isinstance(decision, Retry)
    full_s = min(MAX_BACKOFF_S, first_s * 2.0 ** min(tries - 1, 40))
    assert 0.5 * full_s <= decision.delay_s <= full_s
