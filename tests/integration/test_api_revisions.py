"""Corrections over HTTP: saved once, with the version of the transcript, so no editor loses the work of another."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api import Api, api_settings, running_api
from worker.transcript.model import Transcript
from worker.transcript.revisions import revised, version_tag


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path)) as api:
        yield api


@pytest.fixture
async def job(api: Api) -> str:
    identity: str = (await api.upload())["id"]
    await api.transcribe(identity)
    return identity


async def stored(api: Api, job: str) -> Transcript:
    text = await api.context.ledger.transcript(job)
    assert text is not None
    return Transcript.model_validate_json(text)


def corrections(said: Transcript, text: str, number: int = 1, **changed: Any) -> dict[str, Any]:
    revision = {"id": f"revision-{number}", "created_at": "now", "changes": [{"segment": 0, "text": text}]}
    return {
        "kind": "stt-batch revisions", "schema_version": 1, "job_id": said.job_id, "source_name": "call.wav",
        "source_sha256": said.source.sha256, "transcript_created_at": said.created_at, "base": None,
        "revisions": [revision],
    } | changed  # fmt: skip


async def test_corrections_are_saved_with_the_version_that_the_editor_saw(api: Api, job: str) -> None:
    said = await stored(api, job)
    body = corrections(said, "first")
    path = f"/v1/jobs/{job}/transcript"
    tag = (await api.reader.get(path)).headers["etag"]
    assert tag == version_tag(said)
    answer = await api.alice.patch(path, json=body, headers={"If-Match": tag})
    assert (answer.status_code, answer.json()) == (200, {"job_id": job, "revisions": 1, "last": "revision-1"})
    now = await stored(api, job)
    assert answer.headers["etag"] == version_tag(now) != tag
    assert (revised(now).segments[0].text, now.segments) == ("first", said.segments)
    assert (await api.reader.get(path, params={"format": "txt"})).text.startswith("first\n")
    # The second editor still has the first version.
    late = await api.boss.patch(path, json=corrections(said, "second", 2), headers={"If-Match": tag})
    assert (late.status_code, late.json()["code"]) == (412, "revision_conflict")
    assert "another person has corrected the transcript (revision revision-1" in late.json()["detail"]
    assert await stored(api, job) == now
    retried = await api.boss.patch(
        path, json=corrections(said, "second", 2), headers={"If-Match": late.headers["etag"]}
    )
    assert retried.status_code == 200
    assert revised(await stored(api, job)).segments[0].text == "second"
    # A client that lost the first answer repeats its request.
    again = await api.alice.patch(path, json=body, headers={"If-Match": tag})
    assert (again.status_code, again.json()["revisions"]) == (200, 2)


async def test_of_simultaneous_editors_one_wins_and_the_others_get_a_conflict(api: Api, job: str) -> None:
    said = await stored(api, job)
    bodies = [corrections(said, f"text {n}", n) for n in range(8)]
    headers = {"If-Match": version_tag(said)}
    answers = await asyncio.gather(
        *(api.boss.patch(f"/v1/jobs/{job}/transcript", json=body, headers=headers) for body in bodies)
    )
    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 7]
    assert len((await stored(api, job)).revisions) == 1


async def test_the_transcript_keeps_its_expiry(api: Api, job: str, raw: Any) -> None:
    said = await stored(api, job)
    key = next(key for key in raw.scan_iter() if key.endswith(":transcript"))
    raw.expire(key, 1000)
    headers = {"If-Match": "*"}
    assert (
        await api.alice.patch(f"/v1/jobs/{job}/transcript", json=corrections(said, "x"), headers=headers)
    ).is_success
    assert 900 < raw.ttl(key) <= 1000


@pytest.mark.parametrize(
    ("who", "changed", "headers", "status", "code"),
    [
        ("alice", {}, {}, 428, "precondition_required"),
        ("reader", {}, {"If-Match": "*"}, 403, "forbidden"),
        ("bob", {}, {"If-Match": "*"}, 404, "not_found"),
        ("anyone", {}, {"If-Match": "*"}, 401, "unauthorized"),
        ("alice", {}, {"If-Match": '"other"'}, 412, "revision_conflict"),
        ("alice", {}, {"If-Match": "*", "Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ("alice", {"source_sha256": "11"}, {"If-Match": "*"}, 422, "bad_revision"),
        ("alice", {"kind": "x"}, {"If-Match": "*"}, 422, "bad_revision"),
        ("alice", {"revisions": [{"id": "a", "created_at": ""}]}, {"If-Match": "*"}, 422, "bad_revision"),
        ("alice", {"source_name": "x" * (17 << 20)}, {"If-Match": "*"}, 413, "too_large"),
    ],
)
async def test_other_requests_are_refused_and_change_nothing(
    api: Api, job: str, who: str, changed: dict[str, Any], headers: dict[str, str], status: int, code: str
) -> None:
    said = await stored(api, job)
    content = json.dumps(corrections(said, "x", **changed))
    headers = {"Content-Type": "application/json", **headers}
    answer = await getattr(api, who).patch(f"/v1/jobs/{job}/transcript", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert await stored(api, job) == said


async def test_a_job_without_a_finished_transcript_cannot_be_corrected(api: Api, job: str, raw: Any) -> None:
    said = await stored(api, job)
    waiting = (await api.upload(b"other"))["id"]
    headers = {"If-Match": "*"}
    answer = await api.alice.patch(f"/v1/jobs/{waiting}/transcript", json=corrections(said, "x"), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_finished")
    raw.delete(next(key for key in raw.scan_iter() if key.endswith(f"{job}:transcript")))
    answer = await api.alice.patch(f"/v1/jobs/{job}/transcript", json=corrections(said, "x"), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (404, "transcript_expired")
