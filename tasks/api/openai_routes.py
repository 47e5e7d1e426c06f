"""Routes in the form of OpenAI's API: synchronous transcription, and the list of models.

`model`, `prompt` and `temperature` are accepted and ignored: the settings of the workers choose the service, which has
none of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from secrets import token_hex
from typing import Any, Final

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from tasks.api.audio_length import duration_of
from tasks.api.authentication import SECURITY, AnyRole, Submitter
from tasks.api.context import ApiContext, Context
from tasks.api.event_hub import JobFeed
from tasks.api.job_documents import shown_source
from tasks.api.multipart import boundary_of
from tasks.api.openai_formats import (
    Transcription,
    TranscriptionRequest,
    VerboseTranscription,
    delta,
    done,
    plain,
    request_of,
    separator,
    verbose,
)
from tasks.api.openai_schema import REQUEST_BODY
from tasks.api.problems import Problem, response_of, to_problem
from tasks.api.responses import errors
from tasks.api.source_policy import validated
from tasks.api.transcripts import finished_document, render
from tasks.api.upload_jobs import UploadedFile, UploadRequest
from worker.errors import LedgerUnavailable, SourceError, SttError
from worker.ledger.claims import release_claim
from worker.ledger.ledger import JobRecord, JobState
from worker.realtime import json_codec
from worker.storage.outputs.deliver import content_type
from worker.transcript.model import Segment, Transcript
from worker.transcript.revisions import revised
from worker.transcript.subtitles.style import PLAIN

_log: Final = structlog.get_logger(__name__)
router: Final = APIRouter(tags=["openai"], dependencies=SECURITY)
MODELS: Final = ("stt-batch", "whisper-1")
CREATED: Final = 1_767_225_600
"""Creation time of the models in the list, in seconds since 1970: clients only need some time."""
FOLLOW_S: Final = 30.0
_SOURCE_CODES: Final = "source"


class Model(BaseModel):
    """A model of OpenAI's API."""

    id: str
    object: str = "model"
    created: int = CREATED
    owned_by: str = "stt-batch"


class ModelList(BaseModel):
    """The list of models."""

    object: str = "list"
    data: list[Model]


@router.get("/v1/models", response_model=ModelList, responses=errors())
async def list_models(principal: AnyRole) -> ModelList:
    """List the models. All names stand for the same service."""
    return ModelList(data=[Model(id=name) for name in MODELS])


@router.get("/v1/models/{model}", response_model=Model, responses=errors(404))
async def show_model(principal: AnyRole, model: str) -> Model:
    """Show a model."""
    if model not in MODELS:
        raise Problem(404, f"model {model}: no such model; use {', '.join(MODELS)}", code="model_not_found")
    return Model(id=model)


@router.post(
    "/v1/audio/transcriptions",
    response_model=Transcription | VerboseTranscription,
    responses={
        200: {
            "description": "The transcript, or a stream of events with `stream`",
            "content": {
                "text/plain": {"schema": {"type": "string"}},
                "text/vtt": {"schema": {"type": "string"}},
                "application/x-subrip": {"schema": {"type": "string"}},
                "text/event-stream": {},
            },
        },
        **errors(400, 408, 413, 415),
    },
    openapi_extra={"requestBody": REQUEST_BODY},
)
async def transcribe(request: Request, context: Context, principal: Submitter) -> Response:
    """Transcribe one file and wait for the transcript. The job has the priority `high`; if the client goes away, it is
    cancelled, unless another client asked for the same audio."""
    boundary = boundary_of(request)
    if boundary is None:
        raise Problem(415, "send multipart/form-data with the audio as `file`")
    claim = f"sync-{token_hex(12)}"
    async with UploadRequest(context, principal) as uploads:
        try:
            await uploads.receive(request, boundary)
            wanted = request_of(uploads.fields)
            file = await _check(context, uploads, wanted)
        except Problem as exc:
            if exc.status != 422:
                raise
            # OpenAI's API has 400 for every invalid value.
            raise Problem(400, exc.detail, code=exc.code, **exc.more) from None
        identity = uploads.identify(file)
        try:
            async with uploads.reserved() as reservation:
                await uploads.record(file, identity, reservation, claim=claim)
        except BaseException:
            await _release(context, identity, claim)
            raise
    if wanted.stream:
        return StreamingResponse(
            _events(context, identity, claim), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
    try:
        record = await _wait(request, context, identity)
        return await _rendered(context, record, wanted)
    finally:
        await _release(context, identity, claim)


async def _check(context: ApiContext, uploads: UploadRequest, wanted: TranscriptionRequest) -> UploadedFile:
    """Check the only file of the request and its duration. Raises Problem 400, 413 or 422."""
    if len(uploads.files) != 1:
        raise Problem(400, "send one file", code="invalid_value", param="file")
    file = uploads.files[0]
    file.spec = validated({"source": file.stored.address, "language": wanted.language, "priority": "high"})
    try:
        file.duration_s = await duration_of(file.stored.address, context.settings, strict=True)
    except SourceError as exc:
        shown = shown_source(file.stored.address.text, context.settings)
        reason = str(exc).replace(file.stored.address.text, shown)
        raise Problem(400, reason, code=exc.code, param="file") from None
    _check_duration(context, file.duration_s or 0.0)
    return file


def _check_duration(context: ApiContext, duration_s: float) -> None:
    limit_s = context.settings.http_sync_max_s
    if duration_s > limit_s:
        raise Problem(
            413,
            f"the audio has {duration_s:.0f} s, more than {limit_s:g} s (STT_HTTP_SYNC_MAX_S); send it to "
            "POST /v1/jobs, which has no such limit, and follow the job",
            code="audio_too_long",
            param="file",
            jobs="/v1/jobs",
        )


async def _wait(request: Request, context: ApiContext, identity: str) -> JobRecord:
    """Wait until the job has ended. Raises Problem 499 if the client goes away."""
    gone = asyncio.create_task(_disconnected(request))
    ended = asyncio.create_task(_ended(context, identity))
    try:
        await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            raise Problem(499, "the client closed the connection")
        return ended.result()
    finally:
        for task in (gone, ended):
            task.cancel()
        await asyncio.gather(gone, ended, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _ended(context: ApiContext, identity: str) -> JobRecord:
    async with context.hub.follow(await _record(context, identity)) as feed:
        while not (feed.ended and feed.fresh):
            version = feed.version
            _check_duration(context, feed.record.progress.duration_s)
            if context.hub.closing.is_set():
                raise Problem(503, "the server stops; send the request again", headers={"Retry-After": "1"})
            await feed.wait(version, FOLLOW_S)
        return feed.record


async def _record(context: ApiContext, identity: str) -> JobRecord:
    record = await context.ledger.get(identity)
    if record is None:
        raise Problem(503, "the job has expired; send the request again", headers={"Retry-After": "1"})
    return record


async def _transcript(context: ApiContext, record: JobRecord) -> Transcript:
    """Return the transcript of an ended job. Raises Problem 400 for unusable audio, 422 or 502 for other
    failures."""
    if record.state in (JobState.DONE, JobState.INCOMPLETE):
        return revised(await finished_document(context, record))
    code = record.error_code or record.state.value
    if record.state is JobState.CANCELLED:
        raise Problem(422, "the job was cancelled", code=code)
    # The text may contain the path of the upload on this server.
    reason = (record.error or "the job failed").rpartition(": ")[2] if code.startswith(_SOURCE_CODES) else record.error
    if code.startswith(_SOURCE_CODES):
        raise Problem(400, reason or "the job failed", code=code, param="file")
    raise Problem(502, reason or "the job failed", code=code)


async def _rendered(context: ApiContext, record: JobRecord, wanted: TranscriptionRequest) -> Response:
    transcript = await _transcript(context, record)
    match wanted.response_format:
        case "json":
            body = await asyncio.to_thread(plain(transcript).model_dump_json)
            return Response(body, media_type="application/json")
        case "verbose_json":
            found = await asyncio.to_thread(verbose, transcript, wanted.granularities)
            return Response(found.model_dump_json(exclude_none=True), media_type="application/json")
        case "text":
            return Response(f"{plain(transcript).text}\n", media_type="text/plain; charset=utf-8")
        case fmt:
            data = await asyncio.to_thread(render, transcript, fmt, PLAIN, context.settings)
            return Response(data, media_type=content_type(fmt))


async def _events(context: ApiContext, identity: str, claim: str) -> AsyncIterator[bytes]:
    """Yield the text as it is committed, and the whole text at last."""
    try:
        async with context.hub.follow(await _record(context, identity)) as feed:
            async for part in _deltas(context, feed):
                yield part
    except (Problem, SttError) as exc:
        problem = to_problem(exc) if isinstance(exc, SttError) else exc
        document = json_codec.loads(bytes(response_of(problem, "/v1/audio").body))
        yield _data({"error": document["error"]})
    finally:
        await asyncio.shield(asyncio.create_task(_release(context, identity, claim)))


async def _deltas(context: ApiContext, feed: JobFeed) -> AsyncIterator[bytes]:
    position, text = "0-0", ""
    while True:
        version, ended = feed.version, feed.ended and feed.fresh
        _check_duration(context, feed.record.progress.duration_s)
        entries = feed.newer(position)
        if entries is None:
            entries, last = await context.producer.commits_after(feed.job_id, position)
            ended = ended and last
        for entry in entries:
            position = entry.stream_id
            new = Segment.model_validate_json(entry.segment).text
            new = separator(text[-1:], new) + new
            text += new
            yield _data(delta(new))
        if ended and feed.version == version:
            break
        if context.hub.closing.is_set():
            raise Problem(503, "the server stops; send the request again")
        if feed.version == version and not await feed.wait(version, FOLLOW_S):
            yield b": waiting\n\n"
    transcript = await _transcript(context, feed.record)
    yield _data(done(plain(transcript).text, transcript))
    yield b"data: [DONE]\n\n"


def _data(value: Any) -> bytes:
    return f"data: {json_codec.dumps(value)}\n\n".encode()


async def _release(context: ApiContext, identity: str, claim: str) -> None:
    """Release the claim on the job. Without Redis, the job runs to its end."""
    with suppress(LedgerUnavailable):
        change = await release_claim(context.connection, context.settings, identity, claim)
        if change is not None and change.before is not change.state:
            await context.producer.events.publish("cancelled", identity)


__all__ = ["router"]
