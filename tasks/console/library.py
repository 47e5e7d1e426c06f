"""The library of the console: the newest transcripts as one page that searches, sorts and filters them.

The page is the one that `run` writes as `summary.html`. Its texts come from the start of the transcripts in Redis."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from tasks.api.authentication import AnyRole
from tasks.api.context import ApiContext, context_of
from tasks.api.job_documents import status_of
from tasks.batches.summary import BatchSummary, JobLine, summarize
from tasks.batches.summary_page import content_policy, page
from tasks.batches.transcript_texts import MAX_TEXT, MAX_TOTAL, MIN_TEXT, TranscriptText, text_of
from worker.http_keys import Principal
from worker.ledger.job_listing import JobFilter
from worker.ledger.keys import Keys
from worker.ledger.records import JobRecord, JobState
from worker.transcript.model import Transcript

router: Final = APIRouter(include_in_schema=False)
MAX_JOBS: Final = 2000
PAGE_JOBS: Final = 500
"""Jobs per request to the listing."""
HEAD_BYTES: Final = 1 << 16
"""Bytes of a transcript that are read: the text of about an hour."""
HEADS_AT_ONCE: Final = 100
"""Transcripts whose starts are in memory at the same time."""
_BEFORE_SEGMENTS: Final = ',"segments":['
_UNCORRECTED: Final = '"revisions":[]}'
_TAIL_BYTES: Final = len(_UNCORRECTED)
_MAX_ESCAPE: Final = 24


@router.get("/console/library")
async def library(
    request: Request, principal: AnyRole, batch: Annotated[str | None, Query(min_length=1, max_length=200)] = None
) -> Response:
    """The newest jobs that the key sees, or those of a batch, as a library of transcripts."""
    context = context_of(request)
    wanted = JobFilter(batch=batch or "", producer=None if principal.sees_all else principal.producer)
    ids = await _newest(context, wanted)
    records = [record for record in await context.ledger.get_many(ids) if record is not None]
    texts = await _texts(context, records)
    body = await asyncio.to_thread(_render, context, principal, batch, records, texts)
    headers = {"Content-Security-Policy": f"{content_policy()}; frame-ancestors 'none'"}
    return Response(body, media_type="text/html; charset=utf-8", headers=headers)


async def _newest(context: ApiContext, wanted: JobFilter) -> list[str]:
    found: list[str] = []
    cursor: str | None = None
    while len(found) < MAX_JOBS:
        listed = await context.listing.page(wanted, cursor=cursor, limit=PAGE_JOBS)
        found += listed.ids
        cursor = listed.cursor
        if cursor is None:
            break
    return found[:MAX_JOBS]


def _render(
    context: ApiContext,
    principal: Principal,
    batch: str | None,
    records: Sequence[JobRecord],
    texts: Sequence[TranscriptText | None],
) -> bytes:
    lines = [_line(context, record) for record in records]
    name = batch or ("Library" if principal.sees_all else f"Library of {principal.name}")
    summary: BatchSummary = summarize(name, lines, now=time.time())
    pages = {
        record.id: f"jobs/{quote(record.id, safe='')}/page"
        for record, text in zip(records, texts, strict=True)
        if text is not None
    }
    return page(summary, None, texts, pages=pages).encode("utf-8", "backslashreplace")


def _line(context: ApiContext, record: JobRecord) -> JobLine:
    """Return the job as the page shows it: an upload by its name, and no paths of output files."""
    status = status_of(record, context.settings)
    update = {"source": status.source, "warnings": status.warnings, "outputs": ()}
    line = JobLine.of(record)
    return line.model_copy(update={**update, "error": status.error if line.error is not None else None})


async def _texts(context: ApiContext, records: Sequence[JobRecord]) -> list[TranscriptText | None]:
    """Return the text of each job with a transcript, cut so that the page stays small."""
    keys = Keys(context.settings.redis_prefix)
    ids = [record.id for record in records if record.state is not JobState.QUEUED]
    found: dict[str, TranscriptText | None] = {}
    left = MAX_TOTAL
    for first in range(0, len(ids), HEADS_AT_ONCE):
        some = ids[first : first + HEADS_AT_ONCE]

        def read(pipeline: Any, some: Sequence[str] = some) -> None:
            for job_id in some:
                pipeline.getrange(keys.transcript(job_id), 0, HEAD_BYTES - 1)
                pipeline.getrange(keys.transcript(job_id), -_TAIL_BYTES, -1)

        pairs = await context.connection.pipeline(read)
        for job_id, head, tail in zip(some, pairs[::2], pairs[1::2], strict=True):
            one = read_head(head) if head else None
            if head and tail.endswith("]}") and tail != _UNCORRECTED:
                document = await context.ledger.transcript(job_id)
                one = await asyncio.to_thread(_corrected, document) or one
            if one is not None:
                one = one.shortened(min(MAX_TEXT, max(MIN_TEXT, left)))
                left -= len(one.text)
            found[job_id] = one
    return [found.get(record.id) for record in records]


def _corrected(document: str | None) -> TranscriptText | None:
    try:
        return None if document is None else text_of(Transcript.model_validate_json(document))
    except ValidationError:
        return None


def read_head(head: str) -> TranscriptText | None:
    """Return the text from the start of a transcript in compact JSON, or None if it is none."""
    fields, found, _ = head.partition(_BEFORE_SEGMENTS)
    cut = not found
    if cut:
        # The text is longer than the head. An escape, or a character of several bytes, may be cut off at its end.
        for length in range(_MAX_ESCAPE):
            if (one := _parsed(f'{head[: len(head) - length]}"}}', cut=True)) is not None:
                return one
        return None
    return _parsed(f"{fields}}}", cut=False)


def _parsed(document: str, *, cut: bool) -> TranscriptText | None:
    try:
        fields = json.loads(document)
    except ValueError:
        return None
    if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
        return None
    language = fields.get("language")
    return TranscriptText(fields["text"], language if isinstance(language, str) else None, cut=cut)


__all__ = ["read_head", "router"]
