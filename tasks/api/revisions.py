"""The route that saves corrections of a transcript. The version of the transcript (ETag) protects the work of a second
editor."""

from __future__ import annotations

import asyncio
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field, ValidationError

from tasks.api.authentication import SECURITY, Submitter
from tasks.api.body import media_type, read_body
from tasks.api.context import ApiContext, Context
from tasks.api.jobs import JobIdPath, find_job
from tasks.api.problems import Problem
from tasks.api.responses import errors
from worker.errors import BadRevision
from worker.ledger.transcript_replacement import CHANGED, REPLACED, replace_transcript
from worker.transcript.model import Transcript
from worker.transcript.revisions import (
    RevisionFile,
    last_revision,
    read_revision_file,
    version_tag,
    with_revisions,
)

router: Final = APIRouter(tags=["results"], dependencies=SECURITY)
MAX_BODY_BYTES: Final = 16 << 20
"""Maximum length of the corrections of a transcript as JSON."""
_ETAG: Final = {"ETag": {"description": "version of the transcript, for If-Match", "schema": {"type": "string"}}}
_BODY: Final = {
    "required": True,
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RevisionFile"}}},
}


class SavedRevisions(BaseModel):
    """The state of a transcript after corrections."""

    job_id: str
    revisions: int = Field(description="number of revisions that the transcript has now")
    last: str | None = Field(description="id of the newest revision")


@router.patch(
    "/v1/jobs/{job_id}/transcript",
    response_model=SavedRevisions,
    responses={200: {"headers": _ETAG}, **errors(400, 404, 408, 409, 412, 413, 415, 422, 428)},
    openapi_extra={"requestBody": _BODY},
)
async def save_revisions(
    request: Request,
    context: Context,
    principal: Submitter,
    job_id: JobIdPath,
    if_match: Annotated[
        str | None, Header(max_length=200, description="the ETag of the transcript that was corrected")
    ] = None,
) -> Response:
    """Add corrections to a finished transcript, in the form of the file that a transcript page saves. The original text
    stays; `export` and all formats but JSON use the corrections.

    If another person has saved corrections since, the answer is 412 and nothing changes."""
    record = await find_job(context, principal, job_id)
    if if_match is None:
        reason = "send If-Match with the ETag of the transcript that you corrected (GET of the same path)"
        raise Problem(428, reason, code="precondition_required")
    file = await _read(request)
    stored = await context.ledger.transcript(job_id)
    if stored is None:
        if not record.state.ended:
            raise Problem(
                409, f"job {job_id} is {record.state.value}; its transcript is not finished", code="not_finished"
            )
        raise Problem(404, f"job {job_id}: has no transcript, or it has expired", code="transcript_expired")
    before, after = await asyncio.to_thread(_revised, job_id, stored, file, if_match)
    if after is not before:
        await _store(context, job_id, stored, after)
    saved = SavedRevisions(job_id=job_id, revisions=len(after.revisions), last=last_revision(after))
    return Response(saved.model_dump_json(), headers={"ETag": version_tag(after)}, media_type="application/json")


async def _read(request: Request) -> RevisionFile:
    if media_type(request) != "application/json":
        raise Problem(415, "send the corrections as application/json")
    body = await read_body(request, MAX_BODY_BYTES, "the list of corrections")
    try:
        return await asyncio.to_thread(read_revision_file, body, "the body")
    except BadRevision as exc:
        raise Problem(422, str(exc), code="bad_revision") from None


def _revised(job_id: str, stored: str, file: RevisionFile, if_match: str) -> tuple[Transcript, Transcript]:
    """Return the stored transcript and the corrected one. They are the same object if it has the corrections already.
    Raises Problem."""
    try:
        before = Transcript.model_validate_json(stored)
    except ValidationError:
        raise Problem(409, f"job {job_id}: its transcript needs a newer version of stt-batch") from None
    if not file.belongs_to(before):
        reason = f"the corrections belong to another transcript than that of job {job_id}"
        raise Problem(422, f"{reason}: the source or the run is not the same", code="bad_revision")
    known = {revision.id for revision in before.revisions}
    if all(revision.id in known for revision in file.revisions):
        return before, before  # a repeated request, whose first answer was lost
    if not _matches(if_match, version_tag(before)):
        raise _conflict(job_id, before)
    try:
        # The client has seen the newest version, so its corrections may follow it, wherever they began.
        return before, with_revisions(before, file.revisions, base=file.base, force=True)
    except BadRevision as exc:
        raise Problem(422, str(exc), code="bad_revision") from None


def _matches(if_match: str, tag: str) -> bool:
    return if_match.strip() == "*" or tag in {one.strip() for one in if_match.split(",")}


def _conflict(job_id: str, transcript: Transcript) -> Problem:
    last = transcript.revisions[-1] if transcript.revisions else None
    by = (
        "" if last is None else f" (revision {last.id}{f' by {last.editor}' if last.editor else ''}, {last.created_at})"
    )
    reason = f"job {job_id}: another person has corrected the transcript{by}; read it again and repeat the corrections"
    return Problem(412, reason, code="revision_conflict", headers={"ETag": version_tag(transcript)})


async def _store(context: ApiContext, job_id: str, stored: str, after: Transcript) -> None:
    document = await asyncio.to_thread(after.model_dump_json)
    result = await replace_transcript(context.connection, context.settings, job_id, stored, document)
    if result == REPLACED:
        return
    if result == CHANGED:
        raise Problem(412, f"job {job_id}: another person has just corrected the transcript", code="revision_conflict")
    raise Problem(404, f"job {job_id}: its transcript has expired", code="transcript_expired")


__all__ = ["SavedRevisions", "router"]
