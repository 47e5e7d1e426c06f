"""Turns answers of Redis into job records, and skips records that cannot be read, with a warning in the log."""

from __future__ import annotations

import logging
from typing import Any, Final

from worker.errors import LedgerNewer
from worker.ledger.records import FIELDS, JobRecord, read_record

_LOG: Final = logging.getLogger(__name__)


def readable(job_id: str, answer: Any) -> JobRecord | None:
    """Return the record in the answer to HMGET, or None if there is no such job.

    For a damaged record, or an exception as the answer, return None too and log a warning: one damaged record must not
    make the other records unreadable. Raises LedgerNewer."""
    try:
        if not isinstance(answer, Exception):
            return read_record(job_id, dict(zip(FIELDS, answer, strict=True)))
    except (ValueError, TypeError, ArithmeticError, RecursionError) as exc:
        answer = exc
    _LOG.warning("job %s: its record cannot be read and is skipped: %s", job_id, answer)
    return None


def passable(job_id: str, answer: Any) -> JobRecord | None:
    """Return the result of `readable`. For a record that only a newer version can read, log a warning and return None
    instead of raising LedgerNewer."""
    try:
        return readable(job_id, answer)
    except LedgerNewer as exc:
        _LOG.warning("%s", exc)
        return None
