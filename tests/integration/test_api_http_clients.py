"""Habits of HTTP clients that are no API calls of their own: HEAD, preflights of browsers, and a needless slash."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api import Api, api_settings, problem, running_api
from tests.support.console_server import console_server, send
from worker import metrics

ORIGIN = "https://app.example"


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path, http_cors_origins=ORIGIN)) as api:
        yield api


async def test_head_answers_like_get_without_a_body(api: Api) -> None:
    job = await api.upload(b"0123456789")
    await api.transcribe(job["id"])
    of_job = [job["url"], *(f"{job['url']}/{name}" for name in ("transcript?format=srt", "audio"))]
    paths = ("/healthz", "/readyz", "/docs", "/openapi.json", "/v1/jobs", *of_job, "/v1/jobs/none", "/v1/nothing")
    for path in paths:
        by_get, by_head = await api.alice.get(path), await api.alice.head(path)
        assert by_head.status_code == by_get.status_code, path
        assert dict(by_head.headers) | {"date": ""} == dict(by_get.headers) | {"date": ""}, path
        assert by_head.content == b""
    assert (await api.anyone.head("/v1/jobs")).status_code == 401
    assert (await api.alice.head("/v1/jobs/x/retry")).status_code == 405


async def test_head_of_audio_has_its_length_and_range_and_reads_nothing(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chunks(*_: object) -> AsyncIterator[bytes]:
        raise AssertionError("the body is not read")
        yield b""

    job = await api.upload(b"0123456789")
    monkeypatch.setattr("tasks.api.audio._file_chunks", chunks)
    whole = await api.alice.head(f"{job['url']}/audio")
    assert (whole.status_code, whole.headers["content-length"]) == (200, "10")
    assert whole.headers["accept-ranges"] == "bytes"
    part = await api.alice.head(f"{job['url']}/audio", headers={"range": "bytes=2-4"})
    assert (part.status_code, part.headers["content-length"]) == (206, "3")
    assert part.headers["content-range"] == "bytes 2-4/10"


async def test_head_of_an_endless_stream_ends(api: Api) -> None:
    job = await api.upload()
    async with asyncio.timeout(10):
        for path in (f"{job['url']}/events", "/v1/events"):
            answer = await api.boss.head(path)
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
    assert api.context.hub.followers == 0


async def test_requests_on_the_connection_of_a_head_request_go_on(api: Api) -> None:
    job = await api.upload(b"0123456789")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    head = "Host: x\r\nx-api-key: alice-key\r\n"
    writer.write(f"HEAD {job['url']}/audio HTTP/1.1\r\n{head}\r\n".encode())
    writer.write(f"GET /healthz HTTP/1.1\r\n{head}Connection: close\r\n\r\n".encode())
    async with asyncio.timeout(10):
        received = await reader.read()
    assert received.count(b"HTTP/1.1 200 ") == 2
    assert b"0123456789" not in received
    writer.close()


async def test_an_unexpected_error_of_a_head_request_is_counted_as_head(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(job_id: str) -> None:
        raise RuntimeError(job_id)

    monkeypatch.setattr(api.context.ledger, "get", broken)
    counter = metrics.HTTP_REQUESTS.labels("HEAD", "/v1/jobs/{job_id}", "500")
    before = counter._value.get()
    answer = await api.alice.head("/v1/jobs/x")
    assert (answer.status_code, answer.content) == (500, b"")
    assert counter._value.get() == before + 1


async def test_head_is_not_in_the_openapi_document(api: Api) -> None:
    document = (await api.anyone.get("/openapi.json")).json()
    assert {method for item in document["paths"].values() for method in item} <= {"get", "post", "patch", "delete"}


def test_head_under_any_host_name_for_probes(redis_url: str) -> None:
    with console_server(redis_url) as url:
        for path in ("/healthz", "/readyz"):
            assert send(url, "HEAD", path, host="stt.internal").status == 200


async def test_a_browser_may_send_any_header_from_a_listed_origin(api: Api) -> None:
    """OpenAI's JavaScript client sends headers of its own."""
    wanted = "authorization,content-type,if-match,x-stainless-lang,x-stainless-os,x-future"
    asked = {"access-control-request-method": "POST", "access-control-request-headers": wanted}
    answer = await api.anyone.options("/v1/audio/transcriptions", headers={"origin": ORIGIN, **asked})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-headers"] == wanted
    assert "access-control-allow-credentials" not in answer.headers
    other = await api.anyone.options("/v1/audio/transcriptions", headers={"origin": "https://evil.example", **asked})
    assert other.status_code == 400
    assert "access-control-allow-origin" not in other.headers


async def test_a_redirect_leads_to_no_other_scheme_or_host(api: Api) -> None:
    """Behind a proxy with TLS, an absolute address would begin with http://."""
    answer = await api.alice.get("/v1/jobs/?limit=1&source=a%20b", headers={"host": "stt.example"})
    assert answer.status_code == 307
    assert answer.headers["location"] == "/v1/jobs?limit=1&source=a%20b"
    assert (await api.alice.get("/v1/jobs/", follow_redirects=True)).status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
async def test_a_value_that_is_no_number_is_called_so(api: Api, number: str) -> None:
    answer = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"audio")}, data={"retain_s": number})
    assert "retain_s: Input should be a finite number" in problem(answer, 422)["detail"]
    answer = await api.alice.get("/v1/jobs", params={"created_after": number})
    assert "created_after: Input should be a finite number" in problem(answer, 422)["detail"]
