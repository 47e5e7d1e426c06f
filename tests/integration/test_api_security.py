"""The security tests of the intake, run against the HTTP API: jobs of others, invalid documents, keys that expire."""

from __future__ import annotations

import asyncio
import io
import json
import os
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.api import Api, api_settings, problem, running_api

STATES = ("queued", "running", "done", "failed", "incomplete", "cancelled")


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    settings = api_settings(redis_url, tmp_path, http_allowed_sources="s3://calls", http_sync_max_s=60)
    async with running_api(settings) as api:
        yield api


async def test_no_key_can_change_a_job_of_another_producer(api: Api, raw: redis.Redis) -> None:
    """The thief tries every action, the idempotency key of the job, its id, and its content."""
    victims = {
        "shop": (await api.bob.post("/v1/jobs", files={"file": ("a.wav", b"theirs")}, data={"batch": "b"})).json()[
            "id"
        ],
        "shop by key": (
            await api.bob.post("/v1/jobs", json={"source": "s3://calls/1"}, headers={"Idempotency-Key": "call-1"})
        ).json()["id"],
        "another program": "program-1",
    }
    await api.context.ledger.create_many([("program-1", json.dumps({"source": "/in/a.wav"}))], batch="p")
    for state in STATES:
        for victim, job in victims.items():
            raw.hset(f"stt:job:{job}", "state", state)
            before = raw.hgetall(f"stt:job:{job}")
            for method, path in [
                *(("POST", f"/{action}") for action in ("retry", "pause", "resume")),
                *(("GET", path) for path in ("", "/transcript", "/audio", "/events")),
                ("DELETE", ""),
            ]:
                problem(await api.alice.request(method, f"/v1/jobs/{job}{path}"), 404, "not_found")
            patch = {"json": {"changes": []}, "headers": {"If-Match": '"x"', "content-type": "application/json"}}
            assert (await api.alice.patch(f"/v1/jobs/{job}/transcript", **patch)).status_code in (404, 422)
            assert (await api.alice.post("/v1/jobs/retry", json={"ids": [job]})).json() == {"changed": []}
            for key in (job, "call-1"):
                for force in ("true", "false"):
                    hostile = {"source": "s3://calls/other", "retain_s": 1}
                    query = {"params": {"force": force}, "headers": {"Idempotency-Key": key}}
                    answer = await api.alice.post("/v1/jobs", json=hostile, **query)
                    assert answer.status_code == 202, answer.text
                    assert answer.json()["id"] not in victims.values()
            same = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"theirs")})
            assert same.json()["id"] not in victims.values()
            assert same.json()["before"] is None or same.json()["before"] == "queued"
            problem(
                await api.alice.post("/v1/jobs", files={"file": ("c", b"c")}, data={"batch": "b"}), 409, "batch_taken"
            )
            assert raw.hgetall(f"stt:job:{job}") == before, (victim, state)


DOCUMENTS: list[Any] = [
    {}, [], "x", 1, None, {"sauce": "s3://calls/a"}, {"source": None}, {"source": ""}, {"source": []},
    {"source": "relative.wav"}, {"source": "/etc/passwd"}, {"source": "file:///etc/passwd"}, {"source": "s3://other/a"},
    {"source": "s3://calls/../other/a"}, {"source": "http://127.0.0.1/a"}, {"source": "http://[::1]/a"},
    {"source": "http://169.254.169.254/latest"}, {"source": "ftp://calls/a"}, {"source": "s3://calls/a\n"},
    {"source": "s3://calls/a", "priority": "highest"}, {"source": "s3://calls/a", "retain_s": -1},
    {"source": "s3://calls/a", "out_dir": "/tmp"}, {"source": "s3://calls/a", "out_dir": "../x"},
    {"source": "s3://calls/a", "out_name": "../../x"}, {"source": "s3://calls/a", "formats": ["exe"]},
    {"source": "s3://calls/a", "webhook": "http://127.0.0.1/x"}, {"source": "s3://calls/a", "batch": "x" * 201},
    {"source": "s3://calls/a", "session_options": {"x" * 100: 1}}, {"source": "s3://calls/a", "unknown": 1},
]  # fmt: skip


async def test_invalid_documents_are_refused_with_a_reason(api: Api) -> None:
    for document in DOCUMENTS:
        answer = await api.alice.post(
            "/v1/jobs", content=json.dumps(document), headers={"content-type": "application/json"}
        )
        assert answer.status_code in (403, 422), (document, answer.text)
        assert problem(answer, answer.status_code)["detail"]
    assert not await api.context.ledger.recent_jobs()


async def test_every_key_in_redis_expires(redis_url: str, tmp_path: Path, raw: redis.Redis) -> None:
    limits = {"http_key_max_waiting": 100, "http_key_max_audio_hours": 10, "http_allowed_sources": "s3://calls"}
    async with running_api(api_settings(redis_url, tmp_path, **limits)) as api:
        jobs = [await api.upload(b"%d" % n, batch="b") for n in range(3)]
        await api.alice.post("/v1/jobs", json={"source": "s3://calls/a"}, headers={"Idempotency-Key": "k"})
        await api.alice.post(
            "/v1/batches",
            content="source,id\ns3://calls/b,x\n",
            headers={"content-type": "text/csv"},
            params={"batch": "m"},
        )
        await api.transcribe(jobs[0]["id"])
        await api.alice.post("/v1/batches/b/pause")
        await api.alice.delete(jobs[1]["url"])
        kinds = {key.split(":")[1] for key in raw.scan_iter("stt:*")}
        assert {"job", "http", "listing"} <= kinds
        # The registration of a running writer lasts as long as the process renews it.
        assert [key for key in raw.scan_iter("stt:*") if raw.ttl(key) < 0] == []


def audio(seconds: float, channels: int = 1) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\1" * int(8000 * seconds) * channels)
    return data.getvalue()


async def test_invalid_values_of_openais_parameters_get_400_and_unused_ones_are_ignored(api: Api) -> None:
    call, good = "/v1/audio/transcriptions", ("a.wav", audio(1))
    for fields in ({"response_format": "xml"}, {"temperature": "-1"}, {"timestamp_granularities[]": "letter"}):
        answer = await api.alice.post(call, files={"file": good}, data=fields)
        assert answer.status_code == 400, (fields, answer.text)
    answer = await api.alice.post(call, files={"file": ("cut.wav", audio(1)[:20])})
    assert answer.status_code == 400, answer.text
    two = [("file", good), ("file", ("b.wav", audio(2)))]
    problem(await api.alice.post(call, files=two), 400)
    assert not await api.context.ledger.recent_jobs()
    assert not [name for _, _, names in os.walk(api.context.settings.uploads) for name in names]
    odd = {"model": "x" * 5000, "prompt": "\u202e" * 5000, "temperature": "1", "unknown": "1", "language": ""}
    six = asyncio.create_task(api.alice.post(call, files={"file": ("six.wav", audio(1, channels=6))}, data=odd))
    (job,) = await api.begun()
    await api.transcribe(job, words=1)
    assert (await six).json()["text"] == "word 0"
