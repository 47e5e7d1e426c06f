"""Finds the principal of a request by its key, and checks the role.

A handler names the right that it needs by the type of a parameter: `AnyRole`, `Submitter` or `Operator`.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPBearer

from tasks.api.context import context_of
from tasks.api.problems import Problem
from worker.http_keys import LOCAL, Principal
from worker.ledger.records import JobRecord

_BEARER: Final = HTTPBearer(auto_error=False, description="A key of STT_HTTP_KEYS: `Authorization: Bearer KEY`")
_HEADER: Final = APIKeyHeader(name="x-api-key", auto_error=False, description="A key of STT_HTTP_KEYS")
_CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="stt-batch"'}


async def _principal(request: Request) -> Principal:
    """Return the principal of the request. Raises Problem 401, or 429 above the requests per second of the key."""
    context = context_of(request)
    found = _find(request)
    request.state.principal = found
    await context.limits.count_request(found)
    return found


def _find(request: Request) -> Principal:
    context = context_of(request)
    if not context.keyring:
        return LOCAL
    given = _keys_of(request)
    if not given and context.login is not None:
        found = context.login(request)
        if found is not None:
            return found
    if not given:
        raise Problem(401, "send a key: `Authorization: Bearer KEY` or `x-api-key: KEY`", headers=_CHALLENGE)
    # With two different keys, a proxy in front of this server might check the other one.
    if len(given) > 1:
        raise Problem(401, "the request has several different keys; send one", headers=_CHALLENGE)
    found = context.keyring.find(given.pop())
    if found is None:
        raise Problem(401, "the key is not accepted; check STT_HTTP_KEYS of the server", headers=_CHALLENGE)
    return found


def _keys_of(request: Request) -> set[str]:
    keys = set(request.headers.getlist("x-api-key"))
    for value in request.headers.getlist("authorization"):
        scheme, _, token = value.partition(" ")
        # An empty key counts as a key that is not accepted, so that it does not become a login by cookie.
        keys.add(token.strip() if scheme.lower() == "bearer" else "")
    return keys


async def _submitter(principal: AnyRole) -> Principal:
    if not principal.may_submit:
        raise Problem(403, f"the key {principal.name} has the role read, which changes nothing; use another key")
    return principal


async def _operator(principal: AnyRole) -> Principal:
    if not principal.may_operate:
        raise Problem(403, f"the key {principal.name} has the role {principal.role.value}; this needs `operate`")
    return principal


async def _observer(principal: AnyRole) -> Principal:
    if not principal.sees_all:
        raise Problem(403, f"the key {principal.name} has the role submit, which sees its own jobs only")
    return principal


AnyRole = Annotated[Principal, Depends(_principal)]
"""A principal with any role."""
Submitter = Annotated[Principal, Depends(_submitter)]
"""A principal that may submit jobs and change its own: `submit` or `operate`."""
Operator = Annotated[Principal, Depends(_operator)]
"""A principal that may change everything: `operate`."""
Observer = Annotated[Principal, Depends(_observer)]
"""A principal that sees all jobs: `read` or `operate`."""
SECURITY: Final = [Depends(_BEARER), Depends(_HEADER)]
"""Dependencies of the routers, which only describe the keys in the OpenAPI document."""


def owns(principal: Principal, record: JobRecord) -> bool:
    """Whether the principal sees the job: `read` and `operate` see all jobs, `submit` its own."""
    return principal.sees_all or record.producer == principal.producer


__all__ = ["SECURITY", "AnyRole", "Observer", "Operator", "Submitter", "owns"]
