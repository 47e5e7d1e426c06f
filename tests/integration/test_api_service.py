"""Answers of the HTTP API as a service: error texts, the documentation page, the access log, and limits of requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api import Api, api_settings, problem, running_api
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
