"""Jobs over HTTP: submit by reference and by upload, list, control, roles, and errors as problem documents."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx2
import pytest

from tasks.api.key_limits import KeyLimits
from tasks.api.problems import Problem
from tests.support.api import Api, api_settings, problem, running_api
from worker.errors import QueueFull
from worker.http_keys import Principal, Role
from worker.ledger.connection import RedisConnection
from worker.ledger.deletion import JobDeletion
from worker.ledger.keys import Keys
from worker.ledger.ledger import Ledger
from worker.settings import load

JSON = {"content-type": "application/json"}


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    (tmp_path / "audio").mkdir()
    settings = api_settings(
        redis_url, tmp_path, http_allowed_sources=f"s3://calls,https://media.example,{tmp_path / 'audio'}"
    )
    async with running_api(settings) as api:
        yield api


def stored(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "uploads").rglob("*") if path.is_file())


async def test_an_upload_becomes_a_job_that_reads_it(api: Api, tmp_path: Path) -> None:
    answer = await api.alice.post("/v1/jobs", files={"file": ("Anruf ü.wav", b"audio")}, data={"language": "yue"})
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == job["url"] == f"/v1/jobs/{job['id']}"
    record = await api.context.ledger.get(job["id"])
    assert record is not None
    spec = json.loads(record.spec)
    assert await asyncio.to_thread(Path(spec["source"]).read_bytes) == b"audio"
    assert Path(spec["source"]).is_relative_to(tmp_path / "uploads")
    assert spec["language"] == "yue"
    status = (await api.alice.get(job["url"])).json()
    # The folder of this server is nobody's business.
    assert (status["source"], status["state"]) == ("Anruf ü.wav", "queued")


async def test_equal_uploads_are_one_job_with_one_file(api: Api, tmp_path: Path) -> None:
    jobs = await asyncio.gather(*(api.upload(b"same", f"{n}.wav") for n in range(5)))
    jobs.append(await api.upload(b"same", "late.wav"))
    assert len({job["id"] for job in jobs}) == 1
    other = [await api.upload(b"same", language="en"), await api.upload(b"other")]
    assert len({job["id"] for job in (*jobs, *other)}) == 3
    await api.context.registry.clean()
    # Of equal uploads at the same moment, all but the one that the job names are deleted at the next cleaning.
    assert len(stored(tmp_path)) == 3
    assert len(list((tmp_path / "uploads").iterdir())) == 3


async def test_an_equal_upload_can_be_a_job_of_its_own(api: Api) -> None:
    first = await api.upload(b"same")
    answer = await api.alice.post(
        "/v1/jobs", files={"file": ("a.wav", b"same")}, headers={"Idempotency-Key": "another-one"}
    )
    assert answer.json()["id"] != first["id"]


async def test_several_files_are_one_batch(api: Api) -> None:
    files = [("file", (f"{n}.wav", b"%d" % n)) for n in range(3)]
    answer = await api.alice.post("/v1/jobs", files=files, data={"job": '{"formats": ["json", "srt"]}'})
    document = answer.json()
    assert answer.headers["location"] == document["url"] == f"/v1/batches/{document['batch']}"
    assert [job["source"] for job in document["jobs"]] == ["0.wav", "1.wav", "2.wav"]
    assert (await api.alice.get(document["url"])).json()["total"] == 3


async def test_a_repeated_request_with_several_files_returns_the_same_jobs(api: Api) -> None:
    files = [("file", (f"{n}.wav", b"%d" % n)) for n in range(3)]
    answers = [await api.alice.post("/v1/jobs", files=files, headers={"Idempotency-Key": "calls-1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202], answers[1].text
    first, second = [answer.json() for answer in answers]
    assert [job["id"] for job in second["jobs"]] == [job["id"] for job in first["jobs"]]
    assert second["batch"] == first["batch"]
    assert (await api.bob.post("/v1/jobs", files=files, headers={"Idempotency-Key": "calls-1"})).status_code == 202


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\folder\\a.wav", "a.wav"),
        ("/abs/a.wav", "a.wav"),
        ("..", "upload"),
        ("a|b.wav", "a_b.wav"),
        ("x" * 400 + ".wav", "x" * 196 + ".wav"),
    ],
)
async def test_the_name_of_an_upload_cannot_lead_out_of_its_folder(
    api: Api, tmp_path: Path, sent: str, expected: str
) -> None:
    await api.upload(name=sent)
    assert stored(tmp_path) == [expected]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "bad_request"),
        ("[]", 422, "bad_job"),
        ("{}", 422, "bad_job"),
        ('{"source": "s3://calls/a.wav", "misspelled": 1}', 422, "bad_job"),
        ('{"source": "s3://calls/a.wav", "out_dir": "/results"}', 403, "forbidden"),
        ('{"source": "s3://calls/a.wav", "webhook": "http://127.0.0.1/x"}', 403, "webhook_refused"),
        ('{"source": "s3://other/a.wav"}', 403, "source_refused"),
        ('{"source": "https://media.example.evil/a.wav"}', 403, "source_refused"),
        ('{"source": "http://169.254.169.254/latest"}', 403, "source_refused"),
        ('{"source": "/etc/passwd"}', 403, "source_refused"),
        ('{"source": "relative.wav"}', 403, "source_refused"),
        ('{"source": "unknown://x"}', 403, "source_refused"),
        ('{"source": NaN}', 400, "bad_request"),
        ('{"source": "\\ud800"}', 403, "source_refused"),
    ],
)
async def test_a_job_that_cannot_be_accepted_is_a_problem(api: Api, body: str, status: int, code: str) -> None:
    answer = await api.alice.post("/v1/jobs", content=body, headers={**JSON, "idempotency-key": "k"})
    problem(answer, status, code)
    assert not await api.context.ledger.recent_jobs()


async def test_paths_inside_the_allowed_folder_do_not_lead_outside(api: Api, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"secret")
    (tmp_path / "audio" / "link.wav").symlink_to(secret)
    (tmp_path / "audio" / "ok.wav").write_bytes(b"ok")
    upload = await api.upload(b"of alice")
    record = await api.context.ledger.get(upload["id"])
    assert record is not None
    refused = [
        str(tmp_path / "audio" / "link.wav"),
        str(tmp_path / "audio" / ".." / "secret.wav"),
        json.loads(record.spec)["source"],
        str(tmp_path / "audio" / ".." / "uploads" / "x"),
    ]
    for source in refused:
        for headers in ({}, {"idempotency-key": "key-1"}):
            answer = await api.bob.post("/v1/jobs", json={"source": source}, headers=headers)
            problem(answer, 403, "source_refused")
    assert (await api.bob.post("/v1/jobs", json={"source": str(tmp_path / "audio/ok.wav")})).status_code == 202


async def test_a_repeated_request_with_an_idempotency_key_is_one_job(api: Api) -> None:
    job = {"source": "s3://calls/a.wav"}
    headers = {"Idempotency-Key": "call-1"}
    answers = await asyncio.gather(*(api.alice.post("/v1/jobs", json=job, headers=headers) for _ in range(20)))
    (identity,) = {answer.json()["id"] for answer in answers}
    await api.fail(identity, "source_not_found", "gone")
    again = await api.alice.post("/v1/jobs", json=job, headers=headers)
    assert (again.status_code, again.json()["state"]) == (202, "failed")  # the same answer; no new attempt
    other = await api.alice.post("/v1/jobs", json={"source": "s3://calls/b.wav"}, headers=headers)
    problem(other, 409, "idempotency_key_reused")
    # The same key of another client is another job.
    assert (await api.bob.post("/v1/jobs", json=job, headers=headers)).json()["id"] != identity


async def test_a_repeated_upload_with_an_idempotency_key_is_one_job(api: Api) -> None:
    """Another file with the same key is refused, also at the same moment, and after the job was deleted it is new."""

    async def upload(content: bytes, **fields: str) -> httpx2.Response:
        files, headers = {"file": (f"{content!r}.wav", content)}, {"Idempotency-Key": "call-1"}
        return await api.alice.post("/v1/jobs", files=files, data=fields, headers=headers)

    answers = await asyncio.gather(*(upload(b"%d" % (n % 4)) for n in range(12)))
    taken = [number for number, answer in enumerate(answers) if answer.status_code == 202]
    assert len(taken) == 3
    assert len({number % 4 for number in taken}) == len({answers[number].json()["id"] for number in taken}) == 1
    for number in set(range(12)) - set(taken):
        problem(answers[number], 409, "idempotency_key_reused")
    first = b"%d" % (taken[0] % 4)
    assert (await upload(first)).status_code == 202
    problem(await upload(first, language="en"), 409, "idempotency_key_reused")
    job = answers[taken[0]].json()
    await JobDeletion(api.context.settings, api.context.connection).delete([job["id"]])
    assert (await upload(b"corrected")).status_code == 202


async def test_an_idempotency_key_without_a_job_is_free_for_another_upload(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a refused submission, and after the record of the job has expired."""
    headers = {"Idempotency-Key": "call-1"}
    full = AsyncMock(side_effect=QueueFull("full"))
    with monkeypatch.context() as patched:
        patched.setattr(api.context.submissions, "submit", full)
        refused = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"a")}, headers=headers)
        assert refused.status_code == 429
    answer = await api.alice.post("/v1/jobs", files={"file": ("b.wav", b"b")}, headers=headers)
    assert answer.status_code == 202
    key = Keys(api.context.settings.redis_prefix).job(answer.json()["id"])
    await api.context.connection.call(lambda redis: redis.delete(key))
    assert (await api.alice.post("/v1/jobs", files={"file": ("c.wav", b"c")}, headers=headers)).status_code == 202
    problem(await api.alice.post("/v1/jobs", files={"file": ("d.wav", b"d")}, headers=headers), 409)


async def test_a_key_of_a_job_without_upload_is_refused_for_an_upload(api: Api) -> None:
    headers = {"Idempotency-Key": "call-1"}
    await api.alice.post("/v1/jobs", json={"source": "s3://calls/a.wav"}, headers=headers)
    answer = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"a")}, headers=headers)
    problem(answer, 409, "idempotency_key_reused")


async def test_requests_that_arrive_together_get_their_own_answers(api: Api) -> None:
    """Jobs of several requests are recorded together; one that is refused must not affect the others."""
    answers = await asyncio.gather(
        *(
            api.boss.post("/v1/jobs", json={"source": f"s3://calls/{n}.wav"}, headers={"Idempotency-Key": f"n-{n}"})
            for n in range(50)
        )
    )
    assert [answer.json()["id"] for answer in answers] == [f"n-{n}" for n in range(50)]
    assert len(await api.context.ledger.recent_jobs(limit=None)) == 50


# -- keys and roles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Basic YTpi"}, {"x-api-key": ""}])
async def test_a_request_without_an_accepted_key_is_refused(api: Api, headers: dict[str, str]) -> None:
    for path in ("/v1/jobs", "/v1/stats", "/v1/models", "/metrics", "/v1/jobs/x/events"):
        answer = await api.anyone.get(path, headers=headers)
        problem(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_submitter_sees_and_touches_only_its_own_jobs(api: Api) -> None:
    job = await api.upload()
    paths = [("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/pause"), ("POST", "/resume")]
    paths += [("GET", "/transcript"), ("GET", "/audio"), ("GET", "/events")]
    for method, path in paths:
        problem(await api.bob.request(method, job["url"] + path), 404, "not_found")
    assert (await api.bob.get("/v1/jobs")).json()["jobs"] == []
    bulk = await api.bob.post("/v1/jobs/retry", json={"ids": [job["id"]]})
    assert bulk.json() == {"changed": []}
    for client in (api.alice, api.reader, api.boss):
        assert (await client.get(job["url"])).status_code == 200
        assert len((await client.get("/v1/jobs")).json()["jobs"]) == 1


async def test_equal_audio_of_two_submitters_is_separate(api: Api) -> None:
    """Otherwise one could learn that the other one has this recording, and cancel its job."""
    mine = await api.upload(b"same")
    theirs = (await api.bob.post("/v1/jobs", files={"file": ("a.wav", b"same")})).json()
    assert mine["id"] != theirs["id"]
    assert theirs["before"] is None


async def test_a_reader_changes_nothing(api: Api) -> None:
    job = await api.upload()
    changes = [("DELETE", job["url"]), ("POST", f"{job['url']}/pause"), ("POST", "/v1/webhooks/retry")]
    for method, path in changes:
        content: dict[str, Any] = {"json": {"all": True}} if method == "POST" else {}
        problem(await api.reader.request(method, path, **content), 403, "forbidden")
    problem(await api.reader.post("/v1/jobs", files={"file": ("a.wav", b"x")}), 403, "forbidden")
    problem(await api.alice.post("/v1/webhooks/retry", json={"all": True}), 403, "forbidden")
    problem(await api.alice.get("/v1/stats"), 403, "forbidden")
    assert (await api.reader.get("/v1/stats")).json()["queued"] == 1


async def test_a_submitter_adds_jobs_only_to_its_own_batches(api: Api) -> None:
    await api.upload(batch="monday")
    answer = await api.bob.post("/v1/jobs", files={"file": ("a.wav", b"x")}, data={"batch": "monday"})
    problem(answer, 409, "batch_taken")
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("POST", "/pause")]:
        problem(await api.bob.request(method, f"/v1/batches/monday{path}"), 404, "not_found")
    assert (await api.bob.get("/v1/batches")).json() == {"batches": []}
    assert (await api.alice.get("/v1/batches")).json()["batches"][0]["id"] == "monday"


async def test_a_job_named_like_a_batch_is_not_the_batch(api: Api) -> None:
    """Commands accept names of jobs and batches; over HTTP a job is only a job."""
    await api.upload(batch="n-1")
    await api.boss.post("/v1/jobs", json={"source": "s3://calls/a.wav"}, headers={"Idempotency-Key": "n-1"})
    assert (await api.boss.delete("/v1/jobs/n-1")).json()["state"] == "cancelled"
    assert (await api.alice.get("/v1/batches/n-1")).json()["counts"] == {"queued": 1}


# -- control -----------------------------------------------------------------------------------------------------------


async def test_a_job_is_paused_resumed_cancelled_and_retried(api: Api) -> None:
    job = await api.upload()
    assert (await api.alice.post(f"{job['url']}/pause")).json()["paused"] is True
    assert (await api.alice.post(f"{job['url']}/resume")).json()["paused"] is False
    problem(await api.alice.post(f"{job['url']}/retry"), 409, "job_not_retryable")
    assert (await api.alice.delete(job["url"])).json()["state"] == "cancelled"
    assert (await api.alice.delete(job["url"])).status_code == 200
    problem(await api.alice.post(f"{job['url']}/pause"), 409, "job_ended")
    assert (await api.alice.post(f"{job['url']}/retry")).json()["state"] == "queued"
    await api.transcribe(job["id"])
    problem(await api.alice.delete(job["url"]), 409, "job_ended")


async def test_jobs_are_listed_by_state_batch_time_and_name(api: Api) -> None:
    jobs = [await api.upload(b"%d" % n, f"Call-{n}.wav", batch="a" if n % 2 else "b") for n in range(6)]
    await api.transcribe(jobs[0]["id"])

    async def ids(**query: Any) -> list[str]:
        answer = await api.alice.get("/v1/jobs", params=query)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["jobs"]]

    newest = [job["id"] for job in reversed(jobs)]
    assert await ids() == newest
    assert await ids(state="done") == newest[-1:]
    assert await ids(state=["done", "queued"]) == newest
    assert await ids(batch="a") == newest[::2]
    assert await ids(source="CALL-3") == [newest[2]]
    assert await ids(source="wav", state="queued", batch="b") == newest[1:4:2]
    created = (await api.alice.get(jobs[3]["url"])).json()["created_at"]
    assert await ids(created_after=created) == newest[:3]
    assert await ids(created_before=created - 0.001) == newest[3:]
    pages, cursor = [], None
    while True:
        query = {"limit": 4, **({"cursor": cursor} if cursor else {})}
        page = (await api.alice.get("/v1/jobs", params=query)).json()
        pages += [job["id"] for job in page["jobs"]]
        if (cursor := page["next"]) is None:
            break
    assert pages == newest
    problem(await api.alice.get("/v1/jobs", params={"cursor": "nonsense"}), 422)
    problem(await api.alice.get("/v1/jobs", params={"state": "nonsense"}), 422)


async def test_failures_of_a_batch_are_grouped_and_retried(api: Api) -> None:
    jobs = [await api.upload(b"%d" % n, f"{n}.wav", batch="monday") for n in range(4)]
    for job in jobs[:2]:
        await api.fail(job["id"], "source_damaged", f"{job['source']}: no audio in it")
    await api.fail(jobs[2]["id"], "endpoint_busy", "no free session")
    batch = (await api.alice.get("/v1/batches/monday")).json()
    assert [(group["code"], group["count"]) for group in batch["failures"]] == [
        ("source_damaged", 2),
        ("endpoint_busy", 1),
    ]
    assert str(api.context.settings.uploads) not in json.dumps(batch)
    some = await api.alice.post("/v1/batches/monday/retry", params={"code": "endpoint_busy"})
    assert some.json() == {"changed": [jobs[2]["id"]]}
    rest = await api.alice.post("/v1/batches/monday/retry")
    assert sorted(rest.json()["changed"]) == sorted(job["id"] for job in jobs[:2])
    assert (await api.alice.get("/v1/batches/monday")).json()["counts"] == {"queued": 4}


async def test_every_name_of_a_batch_has_an_address(api: Api) -> None:
    """The actions of a batch are parts of its path, too."""
    names = ["calls/monday", "x/retry", "/a", "a/", "a//b", "../a", "...", "a%2Fb", "a?b#c", "montag ü", " ", "pause"]
    for number, name in enumerate(names):
        job = await api.upload(b"%d" % number, batch=name)
        await api.fail(job["id"], "endpoint_busy", "no free session")
    listed = {batch["id"]: batch["url"] for batch in (await api.alice.get("/v1/batches")).json()["batches"]}
    assert sorted(listed) == sorted(names)
    for name, url in listed.items():
        assert (await api.alice.get(url)).json()["id"] == name
        for method, path, count in [
            ("POST", "/retry", 1),
            ("POST", "/pause", 1),
            ("POST", "/resume", 1),
            ("DELETE", "", 1),
        ]:
            answer = await api.alice.request(method, url + path)
            assert (answer.status_code, len(answer.json()["changed"])) == (200, count), (name, path, answer.text)


async def test_names_that_clients_resolve_in_a_path_are_refused(api: Api, tmp_path: Path) -> None:
    for name in (".", ".."):
        answer = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"x")}, data={"batch": name})
        assert "choose another name" in problem(answer, 422, "bad_job")["detail"]
        lines = {"content": "source\ns3://calls/1.wav\n", "headers": {"content-type": "text/csv"}}
        problem(await api.alice.post("/v1/batches", params={"batch": name}, **lines), 422, "bad_job")
        for client in (api.alice, api.boss):
            named = {"json": {"source": "s3://calls/a.wav"}, "headers": {"Idempotency-Key": name}}
            assert "choose another one" in problem(await client.post("/v1/jobs", **named), 422)["detail"]
    assert not stored(tmp_path)
    assert not await api.context.ledger.recent_jobs()


CSV = "source,id,language\ns3://calls/1.wav,c-1,yue\ns3://calls/2.wav,c-2,\n"
LINES = '{"source": "s3://calls/1.wav", "id": "c-1"}\n{"source": "s3://calls/2.wav", "id": "c-2"}\n'


@pytest.mark.parametrize(
    ("body", "kind", "name"), [(CSV, "text/csv", "m.csv"), (LINES, "application/x-ndjson", "m.jsonl")]
)
async def test_a_manifest_becomes_a_batch(api: Api, body: str, kind: str, name: str) -> None:
    answer = await api.alice.post("/v1/batches", content=body, headers={"content-type": kind}, params={"batch": "m"})
    assert answer.status_code == 202, answer.text
    assert answer.json() == {"batch": "m", "url": "/v1/batches/m", "total": 2, "new": 2}
    again = await api.alice.post("/v1/batches", files={"manifest": (name, body)}, params={"batch": "m"})
    assert again.json()["new"] == 0, again.text


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("relative.wav,x,", 422),
        ("/etc/passwd,x,", 403),
        ("s3://other/a.wav,x,", 403),
        ("http://127.0.0.1/a.wav,x,", 403),
        ("s3://calls/a.wav,not an id,", 422),
        ("s3://calls/a.wav,x,no-such-priority", 422),
    ],
)
async def test_a_manifest_with_one_bad_entry_submits_nothing(api: Api, line: str, status: int) -> None:
    body = f"source,id,priority\ns3://calls/good.wav,g-1,\n{line}\n"
    answer = await api.alice.post("/v1/batches", content=body, headers={"content-type": "text/csv"})
    document = problem(answer, status)
    assert "stt-manifest-" not in document["detail"]
    assert not await api.context.ledger.recent_jobs()


# -- outages -----------------------------------------------------------------------------------------------------------


async def test_a_queue_that_is_full_and_a_redis_that_is_away_can_be_tried_again(redis_url: str, tmp_path: Path) -> None:
    async with running_api(api_settings(redis_url, tmp_path, queue_max=1)) as api:
        await api.upload(b"1")
        answer = await api.alice.post("/v1/jobs", files={"file": ("b.wav", b"2")})
        problem(answer, 429, "queue_full")
        assert int(answer.headers["retry-after"]) > 0
        assert stored(tmp_path) == ["call.wav"]  # nothing is left of the refused upload


async def test_limits_of_a_key(redis_url: str, tmp_path: Path) -> None:
    settings = api_settings(redis_url, tmp_path, http_key_max_waiting=2, http_key_max_requests_per_s=1000)
    async with running_api(settings) as api:
        jobs = [await api.upload(b"%d" % n) for n in range(2)]
        answer = await api.alice.post("/v1/jobs", files={"file": ("c.wav", b"3")})
        problem(answer, 429, "too_many_waiting")
        assert (await api.bob.post("/v1/jobs", files={"file": ("c.wav", b"3")})).status_code == 202
        await api.transcribe(jobs[0]["id"])
        await api.upload(b"4")


async def test_requests_that_arrive_together_do_not_exceed_the_limits_of_their_key(
    redis_url: str, tmp_path: Path
) -> None:
    settings = api_settings(redis_url, tmp_path, http_key_max_waiting=5, http_allowed_sources="s3://calls")
    async with running_api(settings) as api:
        by_reference = [
            api.alice.post("/v1/jobs", json={"source": f"s3://calls/{n}"}, headers={"Idempotency-Key": f"k{n}"})
            for n in range(8)
        ]
        uploads = [api.alice.post("/v1/jobs", files={"file": ("a.wav", b"%d" % n)}) for n in range(8)]
        lists = [api.alice.post("/v1/batches", content=f"source,id\ns3://calls/m{n},m{n}\n",
                                headers={"content-type": "text/csv"}) for n in range(4)]  # fmt: skip
        statuses = [answer.status_code for answer in await asyncio.gather(*by_reference, *uploads, *lists)]
        assert sorted(set(statuses)) == [202, 429]
        assert len(await api.context.ledger.recent_jobs()) == statuses.count(202) == 5


async def test_several_api_processes_together_do_not_exceed_the_limits_of_a_key(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"http_key_max_waiting": 5, "http_key_max_audio_hours": 1, "http_key_max_requests_per_s": 3}
    settings = load({}, redis_url=redis_url, **given)
    connections = [RedisConnection(redis_url) for _ in range(3)]
    ledgers = [Ledger(settings) for _ in connections]
    limits = [KeyLimits(settings, *each) for each in zip(connections, ledgers, strict=True)]
    # The jobs of this test have no records, so they would count as begun.
    monkeypatch.setattr(KeyLimits, "_remove_begun", AsyncMock(return_value=False))
    alice, bob = Principal("alice", Role.SUBMIT), Principal("bob", Role.SUBMIT)
    a_refusal = asyncio.Event()

    async def submit(number: int, who: Principal, audio_s: float = 0.0) -> bool:
        try:
            async with limits[number % 3].reserved(who, 1, audio_s) as reservation:
                await reservation.note({f"{who.name}{number}": audio_s})
                await a_refusal.wait()  # noted and still reserved: counted once
        except Problem:
            a_refusal.set()
            return False
        return True

    async def accepted(who: Principal, audio_s: float = 0.0) -> int:
        a_refusal.clear()
        return sum(await asyncio.gather(*(submit(number, who, audio_s) for number in range(12))))

    try:
        assert await accepted(alice) == 5
        assert await accepted(bob, 1500.0) == 2  # of 3,600 s
        killed = Principal("killed", Role.SUBMIT)
        await limits[0].check_submission(killed, 5, token="t")
        with pytest.raises(Problem):
            await limits[1].check_submission(killed, 1)
        key = f"{settings.redis_prefix}http:reserved:killed"
        (member,) = await connections[0].call(lambda redis: redis.zrange(key, 0, -1))
        await connections[0].call(lambda redis: redis.zadd(key, {member: 1}))  # it expires
        await limits[1].check_submission(killed, 5)
        requests = [one.count_request(alice) for one in limits for _ in range(10)]
        began = time.monotonic()
        results = await asyncio.gather(*requests, return_exceptions=True)
        # A burst of three, and three for each second that these requests took on a busy machine.
        assert 3 <= results.count(None) <= 3 + 3 * (time.monotonic() - began)
        assert all(isinstance(one, Problem) and one.code == "too_many_requests" for one in results if one is not None)
    finally:
        for one in (*connections, *ledgers):
            await one.close()


async def test_the_hours_of_audio_of_a_key_are_limited_per_day(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.api.key_limits.RESOLVE_INTERVAL_S", 0.0)
    async with running_api(api_settings(redis_url, tmp_path, http_key_max_audio_hours=1 / 3600)) as api:
        job = await api.upload(b"not audio: its length is known after the job")
        await api.transcribe(job["id"])
        ledger: Ledger = api.context.ledger
        record = await ledger.get(job["id"])
        assert record is not None
        await api.context.connection.call(lambda redis: redis.hset(f"stt:job:{job['id']}", "duration_s", "5"))
        answer = await api.alice.post("/v1/jobs", files={"file": ("b.wav", b"2")})
        problem(answer, 429, "too_much_audio")
        assert int(answer.headers["retry-after"]) <= 86400


async def test_the_requests_of_a_key_are_limited_per_second(redis_url: str, tmp_path: Path) -> None:
    async with running_api(api_settings(redis_url, tmp_path, http_key_max_requests_per_s=2)) as api:
        answers = await asyncio.gather(*(api.alice.get("/v1/me") for _ in range(20)))
        refused = [answer for answer in answers if answer.status_code == 429]
        assert refused
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert (await api.bob.get("/v1/me")).status_code == 200
