"""Answers of the HTTP API as a service: error texts, the documentation page, the access log, and limits of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from tasks.api.app import ROUTERS
from tasks.api.body import JsonRoute
from tasks.console import library, operator_routes, pages
from tests.support.api import Api, api_settings, problem, running_api
from tests.support.console_server import console_server, send
from tests.support.wait import allowed_s, async_wait_until
from worker import metrics


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path)) as api:
        yield api


async def test_a_refused_source_names_the_setting_that_refuses_it(redis_url: str, tmp_path: Path) -> None:
    given = {"http_allowed_sources": "s3://calls,s3://other", "allowed_sources": "s3://calls"}
    async with running_api(api_settings(redis_url, tmp_path, **given, allowed_outputs="", uploads="")) as api:
        for source, setting in [("s3://other/a", "STT_ALLOWED_SOURCES"), ("s3://third/a", "STT_HTTP_ALLOWED_SOURCES")]:
            answer = await api.alice.post("/v1/jobs", json={"source": source})
            assert f" {setting} " in problem(answer, 403, "source_refused")["detail"]


async def test_the_documentation_page_shows_every_operation(api: Api) -> None:
    document = (await api.anyone.get("/openapi.json")).json()
    page = (await api.anyone.get("/docs")).text
    operations = [f"{method.upper()} {path}" for path, item in document["paths"].items() for method in item]
    assert "PATCH /v1/jobs/{job_id}/transcript" in operations
    assert [operation for operation in operations if operation not in page] == []


async def test_an_unexpected_error_counts_as_status_500(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(job_id: str) -> None:
        raise RuntimeError(job_id)

    monkeypatch.setattr(api.context.ledger, "get", broken)
    labels = ("GET", "/v1/jobs/{job_id}", "500")
    before = metrics.HTTP_REQUESTS.labels(*labels)._value.get()
    problem(await api.alice.get("/v1/jobs/x"), 500, "internal")
    assert metrics.HTTP_REQUESTS.labels(*labels)._value.get() == before + 1


@pytest.mark.parametrize("path", ["/v1/jobs/retry", "/v1/webhooks/retry", "/console/login", "/console/failures/retry"])
def test_a_body_that_is_read_before_the_key_is_checked_has_a_maximum_length(redis_url: str, path: str) -> None:
    with console_server(redis_url) as url:
        answer = send(url, "POST", path, {"ids": ["x" * 3_000_000]}, origin=url)
    assert answer.status == 413, answer.body[:300]


def test_every_body_that_the_framework_reads_has_a_maximum_length() -> None:
    routers = (*ROUTERS, operator_routes.router, library.router, pages.router)
    routes = [route for router in routers for route in router.routes if isinstance(route, APIRoute)]
    assert [route.path for route in routes if route.body_field and not isinstance(route, JsonRoute)] == []
    assert any(isinstance(route, JsonRoute) for route in routes)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/jobs", "application/json"), ("/v1/batches", "text/csv"), ("/v1/jobs/retry", "application/json")],
)
async def test_a_body_that_stops_arriving_is_refused(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str, kind: str
) -> None:
    monkeypatch.setattr("tasks.api.body.IDLE_S", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nx-api-key: alice-key\r\nContent-Length: 99\r\nContent-Type: {kind}\r\n"
    writer.write(f"{head}\r\nabc".encode())
    async with asyncio.timeout(allowed_s(20)):
        assert b" 408 " in await reader.readline()
    writer.close()


async def test_a_manifest_whose_client_goes_away_is_no_unexpected_error(
    api: Api,
) -> None:
    labels = ("POST", "/v1/batches", "400")
    before = metrics.HTTP_REQUESTS.labels(*labels)._value.get()
    _, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    head = "POST /v1/batches HTTP/1.1\r\nHost: x\r\nx-api-key: alice-key\r\nContent-Length: 99\r\n"
    writer.write(f"{head}Content-Type: text/csv\r\n\r\nabc".encode())
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.close()
    await async_wait_until(
        lambda: metrics.HTTP_REQUESTS.labels(*labels)._value.get() == before + 1, "the request has ended"
    )
