"""Routes of the page itself, of login and logout, and of transcript pages."""

from __future__ import annotations

import asyncio
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Body, Request
from fastapi.responses import JSONResponse, Response

from tasks.api.authentication import AnyRole
from tasks.api.body import JsonRoute
from tasks.api.context import Context, context_of
from tasks.api.job_documents import shown_source
from tasks.api.jobs import JobIdPath, find_job
from tasks.api.problems import Problem
from tasks.console.browser_guard import LOGIN, cookie_name, principal_of, token_of
from tasks.console.login_limit import LoginLimit
from tasks.console.sessions import SESSION_S, Sessions, csrf_token
from worker.http_keys import LOCAL, Principal
from worker.transcript.formats import page_pieces
from worker.transcript.formats.html import PageServer
from worker.transcript.model import Transcript
from worker.transcript.revisions import version_tag
from worker.version import installed_version

router: Final = APIRouter(include_in_schema=False, route_class=JsonRoute)
_TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "html": "text/html"}
_META_POLICY: Final = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')


@cache
def _static() -> dict[str, tuple[bytes, str, str]]:
    """Return the files of the page: name -> content, media type and entity tag."""
    found = {}
    for entry in (files("tasks.console") / "static").iterdir():
        kind = _TYPES.get(entry.name.rpartition(".")[2])
        if kind is not None:
            body = entry.read_bytes()
            found[entry.name] = body, f"{kind}; charset=utf-8", f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    return found


@router.get("/")
async def index(request: Request) -> Response:
    return _file(request, "index.html")


@router.get("/console/session")
async def session(request: Request, context: Context) -> dict[str, Any]:
    """Describe the session to the page. Answers also without one, so that the page can show the login."""
    principal = principal_of(request) if context.keyring else LOCAL
    token = token_of(request)
    return {
        "required": bool(context.keyring),
        "principal": None if principal is None else {"name": principal.name, "role": principal.role.value},
        "csrf": csrf_token(token) if token else "",
        "uploads": context.uploads is not None,
        "version": installed_version() or "0",
    }


@router.post(LOGIN)
async def login(request: Request, context: Context, key: Annotated[str, Body(embed=True, max_length=4096)]) -> Response:
    """Exchange a key for a session cookie."""
    if not context.keyring:
        raise Problem(409, "this server has no keys; no login is needed", code="no_login")
    limit: LoginLimit = request.app.state.console_login_limit
    if (wait_s := limit.wait_s()) > 0:
        headers = {"Retry-After": str(round(wait_s) + 1)}
        raise Problem(429, "too many wrong keys; try again in a minute", code="too_many_logins", headers=headers)
    sessions: Sessions = request.app.state.console_sessions
    started = await sessions.start(key.strip())
    if started is None:
        limit.failed()
        raise Problem(401, "this key is not accepted", code="wrong_key")
    if before := token_of(request):  # a session is not reused by another login
        await sessions.end(before)
    token, principal = started
    response = _principal_response(principal)
    response.set_cookie(
        cookie_name(request.headers.get("host", "")),
        token,
        max_age=SESSION_S,
        path="/",
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https" or request.headers.get("origin", "").startswith("https://"),
    )
    return response


@router.post("/console/logout")
async def logout(request: Request) -> Response:
    """End the session in Redis and in the browser."""
    sessions: Sessions = request.app.state.console_sessions
    if token := token_of(request):
        await sessions.end(token)
    response = Response(status_code=204)
    response.delete_cookie(cookie_name(request.headers.get("host", "")), path="/", httponly=True, samesite="strict")
    return response


@router.get("/console/jobs/{job_id}/page")
async def transcript_page(request: Request, principal: AnyRole, job_id: JobIdPath) -> Response:
    """The transcript of a job as a page that plays its audio from this server."""
    context = context_of(request)
    record = await find_job(context, principal, job_id)
    text = await context.ledger.transcript(job_id)
    if text is None:
        raise Problem(404, f"job {job_id} is {record.state.value} and has no transcript", code="no_transcript")
    document = await asyncio.to_thread(Transcript.model_validate_json, text)
    # A relative path, which the page resolves against its own address.
    audio = f"../../../v1/jobs/{quote(job_id, safe='')}/audio"
    name = shown_source(document.source.path, context.settings).rpartition("/")[2] or document.source.name
    source = document.source.model_copy(update={"path": audio, "name": name})
    server = _server(request, principal, job_id, document)
    page = await asyncio.to_thread(_render, document.model_copy(update={"source": source}), server)
    found = _META_POLICY.search(page)
    # The policy of the page allows only its own script, by its hash.
    policy = "" if found is None else found[1].replace("&#x27;", "'").replace("&amp;", "&")
    headers = {"Content-Security-Policy": f"{policy}; frame-ancestors 'none'"} if policy else {}
    return Response(page.encode("utf-8", "backslashreplace"), media_type="text/html; charset=utf-8", headers=headers)


@router.get("/console/{name}")
async def static_file(request: Request, name: str) -> Response:
    return _file(request, name)


def _server(request: Request, principal: Principal, job_id: str, document: Transcript) -> PageServer | None:
    """Return the address to which the page saves corrections, or None if this key may only save them as a file."""
    if not principal.may_submit:
        return None
    token = token_of(request)
    headers = {"x-csrf-token": csrf_token(token)} if token else {}
    address = f"../../../v1/jobs/{quote(job_id, safe='')}/transcript"
    return PageServer(address, version_tag(document), headers)


def _render(document: Transcript, server: PageServer | None) -> str:
    return "".join(page_pieces(document, server=server))


def _file(request: Request, name: str) -> Response:
    found = _static().get(name)
    if found is None:
        raise Problem(404, f"/console/{name}: no such path")
    body, kind, tag = found
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=kind, headers=headers)


def _principal_response(principal: Principal) -> Response:
    return JSONResponse({"name": principal.name, "role": principal.role.value})


__all__ = ["router"]
