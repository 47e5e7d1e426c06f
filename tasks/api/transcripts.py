"""The route that returns the transcript of a job, in any output format."""

from __future__ import annotations

import asyncio
from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query
from fastapi.responses import Response
from pydantic import ValidationError

from tasks.api.authentication import SECURITY, AnyRole
from tasks.api.context import Context
from tasks.api.job_documents import shown_source
from tasks.api.jobs import JobIdPath, find_job
from tasks.api.problems import Problem
from tasks.api.responses import errors
from worker.ledger.ledger import JobRecord
from worker.settings import Settings
from worker.storage.outputs.deliver import content_type
from worker.transcript.formats import FORMATS, pieces
from worker.transcript.model import Transcript
from worker.transcript.revisions import version_tag
from worker.transcript.subtitles.style import AudioEvents, Preset, Script, Style

router: Final = APIRouter(tags=["results"], dependencies=SECURITY)
Format = Literal["json", "srt", "vtt", "txt", "html", "ass", "tsv", "ctm", "textgrid"]
_ETAG: Final[dict[str, Any]] = {
    "ETag": {"description": "version of the transcript, for If-Match", "schema": {"type": "string"}}
}
_TEXTS: Final[dict[str, Any]] = {content_type(name): {} for name in FORMATS if name != "json"}


@router.get(
    "/v1/jobs/{job_id}/transcript",
    response_class=Response,
    response_model=Transcript,
    responses={
        200: {"content": _TEXTS, "description": "The transcript in the format", "headers": _ETAG},
        **errors(404, 409, 422),
    },
)
async def transcript(
    context: Context,
    principal: AnyRole,
    job_id: JobIdPath,
    format: Annotated[Format, Query(description="output format")] = "json",
    preset: Annotated[Preset, Query(description="rules for subtitles")] = "plain",
    script: Annotated[Script | None, Query(description="Chinese script to write")] = None,
    audio_events: Annotated[AudioEvents | None, Query(description="keep or remove audio events")] = None,
    word_cues: Annotated[bool, Query(description="times of the words inside the cues (vtt, ass)")] = False,
    bom: Annotated[bool, Query(description="a byte order mark at the start of subtitle and text files")] = False,
) -> Response:
    """Return the finished transcript of a job."""
    record = await find_job(context, principal, job_id)
    style = Style(preset=preset, script=script, audio_events=audio_events, word_cues=word_cues, bom=bom)
    document = await finished_document(context, record)
    body = await asyncio.to_thread(render, document, format, style, context.settings)
    name = PurePosixPath(shown_source(record_source(document), context.settings)).stem or job_id
    headers = {
        "ETag": version_tag(document),
        "Content-Disposition": f"{_disposition(format)}; filename*=UTF-8''{quote(f'{name}.{format}', safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    if format == "html":
        # The page has scripts of its own. In a sandbox they cannot use the cookie of the console.
        headers["Content-Security-Policy"] = "sandbox allow-scripts"
    return Response(body, headers=headers, media_type=content_type(format))


def _disposition(fmt: str) -> str:
    return "attachment" if fmt == "html" else "inline"


async def finished_document(context: Any, record: JobRecord) -> Transcript:
    """Return the transcript of a job. Raises Problem 409 if it is not finished, and 404 if it has expired."""
    text: str | None = await context.ledger.transcript(record.id)
    if text is not None:
        try:
            return await asyncio.to_thread(Transcript.model_validate_json, text)
        except ValidationError:
            raise Problem(409, f"job {record.id}: its transcript needs a newer version of stt-batch") from None
    if not record.state.ended:
        reason = f"job {record.id} is {record.state.value}; its transcript is not finished"
        raise Problem(409, reason, code="not_finished", headers={"Retry-After": "2"})
    if record.state.value in ("failed", "cancelled"):
        reason = f"job {record.id} is {record.state.value} and has no transcript"
        raise Problem(409, f"{reason}: {record.error}" if record.error else reason, code="no_transcript")
    raise Problem(404, f"job {record.id}: its transcript has expired (STT_RESULT_TTL)", code="transcript_expired")


def record_source(document: Transcript) -> str:
    return document.source.path


def render(document: Transcript, fmt: str, style: Style, settings: Settings) -> bytes:
    """Return the transcript as an output file. The folder of an upload is removed. Blocks the thread."""
    shown = shown_source(document.source.path, settings)
    if shown != document.source.path:
        document = document.model_copy(update={"source": document.source.model_copy(update={"path": shown})})
    return b"".join(text.encode("utf-8", "backslashreplace") for text in pieces(document, fmt, style))


__all__ = ["finished_document", "render", "router"]
