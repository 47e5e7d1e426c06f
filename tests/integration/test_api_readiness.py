"""`/readyz`: 503 with the reason while no job can be accepted, and 200 as soon as one can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, api_settings, running_api
from tests.support.redis_topologies import Server


def server(folder: Path, *options: str) -> Iterator[Server]:
    one = Server(folder, "--save", "", *options)
    try:
        yield one
    finally:
        one.kill()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from server(tmp_path_factory.mktemp("valkey"))


async def readiness(api: Api) -> tuple[int, str | None]:
    answer = await api.anyone.get("/readyz")
    document: dict[str, Any] = answer.json()
    assert document["status"] == ("ok" if answer.status_code == 200 else "unavailable")
    return answer.status_code, document["problem"]


@pytest.mark.parametrize(
    ("begin", "end", "reason"),
    [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "maxmemory"),
        ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE", "Redis is a read-only replica; set STT_REDIS_URL"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "Not enough good replicas"),
    ],
)
async def test_a_redis_that_refuses_writes_is_not_ready(
    tmp_path: Path, valkey: Server, begin: str, end: str, reason: str
) -> None:
    async with running_api(api_settings(valkey.url, tmp_path)) as api:
        assert await readiness(api) == (200, None)
        with valkey.client() as client:
            client.execute_command(*begin.split())
            try:
                status, problem = await readiness(api)
                accepted = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"audio")})
            finally:
                client.execute_command(*end.split())
            assert (status, accepted.status_code) == (503, 503)
            assert reason in (problem or "")
            assert "127.0.0.1" not in (problem or ""), "a client without a key does not learn the address"
            assert await readiness(api) == (200, None)
            assert not client.exists("stt:queue"), "the check writes nothing"


async def test_a_refused_login_is_named(tmp_path: Path) -> None:
    for one in server(tmp_path / "valkey", "--requirepass", "a-long-password"):
        url = one.url.replace("redis://", "redis://:wrong@")
        async with running_api(api_settings(url, tmp_path)) as api:
            status, problem = await readiness(api)
    assert status == 503
    assert (problem or "").startswith("Redis refuses the login; check STT_REDIS_URL")
    assert "127.0.0.1" not in (problem or "")


async def test_a_redis_that_does_not_answer_is_not_ready(tmp_path: Path) -> None:
    async with running_api(api_settings("redis://127.0.0.1:1/0", tmp_path)) as api:
        status, problem = await readiness(api)
    assert (status, (problem or "")[:21]) == (503, "Redis does not answer")
