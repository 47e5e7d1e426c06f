"""The plain listing of a bucket: `worker.storage.s3_listing`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from worker.errors import SourceUnavailable
from worker.storage import s3_listing
from worker.storage.address import parse


def page(*keys: str) -> str:
    contents = "".join(f"<Contents><Key>{key}</Key><Size>1</Size></Contents>" for key in keys)
    return f"<ListBucketResult>{contents}<IsTruncated>true</IsTruncated></ListBucketResult>"


@asynccontextmanager
async def store(parts: Sequence[str]) -> AsyncIterator[str]:
    """A store that answers every request with `parts`, one after the other."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            await response.write(part.encode())
            await asyncio.sleep(0.05)
        return response

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def _without_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")


async def test_a_page_that_arrives_in_parts_is_read_completely() -> None:
    text = page("a.wav", "d//x.wav", "z.wav")
    async with store([text[:50], text[50:90], text[90:]]) as endpoint:
        found = await s3_listing.list_page(parse("s3://bucket/"), "", endpoint)
    assert found == s3_listing.S3Page((("a.wav", 1), ("d//x.wav", 1), ("z.wav", 1)), last=False)


async def test_a_page_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_listing, "MAX_PAGE_BYTES", 60)
    async with store([page("a.wav", "b.wav")]) as endpoint:
        with pytest.raises(SourceUnavailable, match="more than 60 bytes"):
            await s3_listing.list_page(parse("s3://bucket/"), "", endpoint)
