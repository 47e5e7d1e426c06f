"""Idempotency keys of HTTP clients: a repeated request returns the job of the first one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from tasks.api.problems import Problem
from tasks.job_spec import JobSpec, checked_key
from worker.errors import BadJob
from worker.http_keys import Principal
from worker.ledger.ledger import JobRecord

_NOT_COMPARED: Final = frozenset({"speed", "sessions", "priority"})
"""Fields that do not change the result of a job."""


def job_id_of(key: str, principal: Principal, field: str = "idempotency_key") -> str:
    """Return the id of the job with this idempotency key. `field`: the name under which the client gave the key, for
    the message. Raises BadJob for an invalid key.

    For an operator it is the key itself, as for all other producers. For other principals the id also depends on the
    name of their key, so that they neither meet nor guess the jobs of others."""
    checked_key(key, field)
    if key in (".", ".."):  # see `source_policy.validated`
        raise BadJob(f"{field} {key!r}: cannot be part of a web address; choose another one")
    if principal.may_operate:
        return key
    return hashlib.sha256(f"{principal.producer}\n{key}".encode()).hexdigest()[:24]


def check_repeated(record: JobRecord, spec: JobSpec, *, upload: bool) -> None:
    """Check that a repeated request asks for the same job. `upload`: whether the source is an upload, which has another
    address each time; its content is compared by `UploadRegistry.first_content`. Raises Problem 409."""
    left_out = _NOT_COMPARED | ({"source"} if upload else set())
    try:
        before = json.loads(record.spec)
    except ValueError:
        return
    now = json.loads(spec.model_dump_json())
    different = sorted(name for name in (before.keys() | now.keys()) - left_out if before.get(name) != now.get(name))
    if different:
        raise key_reused(different)


def key_reused(different: Sequence[str]) -> Problem:
    """Return the problem of an idempotency key that another request has used. `different`: names of the fields that
    differ from those of that request."""
    return Problem(
        409,
        f"the Idempotency-Key was used for another job: {', '.join(different)} differ; use a new key",
        code="idempotency_key_reused",
    )


__all__ = ["check_repeated", "job_id_of", "key_reused"]
