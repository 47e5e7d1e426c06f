"""Uploads: flat memory, limits, nothing left of broken ones, removal with the job. Results of jobs over HTTP."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.support.api import Api, api_settings, running_api
from tests.support.s3_server import BUCKET, S3Server
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import async_wait_until
from worker.errors import LedgerUnavailable
from worker.transcript.formats import FORMATS


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path, upload_max_gb=0.05)) as api:
        yield api


def entries(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "uploads").rglob("*"))


async def registered(api: Api) -> int:
    return int(await api.context.connection.call(lambda redis: redis.zcard("stt:http:uploads")))


HEAD = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nx-api-key: alice-key\r\nContent-Length: 10000000\r\n"
    b"Content-Type: multipart/form-data; boundary=xyz\r\n\r\n"
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
)


async def test_an_upload_that_breaks_leaves_nothing(api: Api, tmp_path: Path) -> None:
    port = int(api.url.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"x" * 300_000)
    await writer.drain()
    await async_wait_until(lambda: len(entries(tmp_path)) == 2, "the upload begins")
    writer.close()
    await async_wait_until(lambda: not entries(tmp_path), "the rest is deleted")
    assert not await api.context.ledger.recent_jobs()
    for _ in range(200):
        if not await registered(api):
            break
        await asyncio.sleep(0.02)
    assert not await registered(api)


async def test_an_upload_that_cannot_be_registered_is_not_renewed_for_ever(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(call: object) -> None:
        raise LedgerUnavailable("Redis is away")

    monkeypatch.setattr(api.context.connection, "pipeline", away)
    answer = await api.alice.post("/v1/jobs", files={"file": ("a.wav", b"x")})
    assert answer.status_code == 503
    assert not api.context.registry._open


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"--xyz\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\nabc", 400),
        (b"no boundary at all", 400),
        (b"--xyz\r\nContent-Disposition: form-data; name=x\r\n\r\nabc\r\n--xyz--\r\n", 422),
        (b"--xyz\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\n\r\n--xyz--\r\n", 422),
        (b"--xyz\r\nContent-Disposition: form-data; name=source\r\n\r\n/etc\r\n"
         b"--xyz\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\nabc\r\n--xyz--\r\n", 422),
        (b"--xyz\r\nContent-Disposition: form-data; name=job\r\n\r\n{\"source\": \"/etc\"}\r\n"
         b"--xyz\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\nabc\r\n--xyz--\r\n", 422),
        (b"--xyz\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\nabc\r\n"
         b"--xyz\r\nContent-Disposition: form-data; name=speed\r\n\r\nnonsense\r\n--xyz--\r\n", 422),
        (b"--xyz\r\nContent-Disposition: form-data; name=text\r\n\r\n" + b"x" * 1_100_000 + b"\r\n--xyz--\r\n", 413),
    ],
)  # fmt: skip
async def test_a_form_that_cannot_be_accepted_leaves_nothing(
    api: Api, tmp_path: Path, body: bytes, status: int
) -> None:
    headers = {"content-type": "multipart/form-data; boundary=xyz"}
    answer = await api.alice.post("/v1/jobs", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert not entries(tmp_path)
    assert not await api.context.ledger.recent_jobs()
    assert not await registered(api)


async def test_a_file_above_the_limit_is_refused_and_removed(api: Api, tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield HEAD.partition(b"\r\n\r\n")[2]
        for _ in range(60):
            yield b"x" * 1_000_000

    headers = {"content-type": "multipart/form-data; boundary=xyz"}
    try:
        answer = await api.alice.post("/v1/jobs", content=body(), headers=headers)
    except httpx2.HTTPError:  # the server closed the connection before the client had sent everything
        pass
    else:
        assert answer.status_code == 413
        assert answer.json()["code"] == "upload_too_large"
    await async_wait_until(lambda: not entries(tmp_path), "nothing is left")


async def test_a_form_with_too_many_files_is_refused_before_its_end(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.api.upload_jobs.MAX_FILES", 2)
    part = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\naudio\r\n--xyz\r\n'
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(HEAD.partition(b"\r\n\r\n")[0] + b"\r\n\r\n--xyz\r\n" + part * 3)  # of 10 MB
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        answer = await asyncio.wait_for(reader.readuntil(b"}"), 30)
    finally:
        writer.close()
    assert head.startswith(b"HTTP/1.1 413 ")
    document = json.loads(answer)
    assert document["code"] == "too_many_files"
    assert all(word in document["detail"] for word in ("more than 2 files", "`batch`", "POST /v1/batches"))
    await async_wait_until(lambda: not entries(tmp_path), "the files before are deleted")
    assert not await api.context.ledger.recent_jobs()


async def test_many_large_uploads_use_little_memory(api: Api, tmp_path: Path) -> None:
    process = psutil.Process(os.getpid())
    path = tmp_path / "large.wav"
    path.write_bytes(os.urandom(1 << 20) * 10)

    async def body(number: int) -> AsyncIterator[bytes]:
        yield HEAD.partition(b"\r\n\r\n")[2] + b"%d" % number
        for _ in range(10):
            yield path.read_bytes()[: 1 << 20]  # the client's memory is measured as well
        yield b"\r\n--xyz--\r\n"

    async def send(number: int) -> int:
        headers = {"content-type": "multipart/form-data; boundary=xyz"}
        return (await api.alice.post("/v1/jobs", content=body(number), headers=headers)).status_code

    await send(0)
    before = process.memory_info().rss
    peaks = [0]

    async def watch() -> None:
        while True:
            peaks[0] = max(peaks[0], process.memory_info().rss)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    assert set(await asyncio.gather(*(send(number) for number in range(1, 13)))) == {202}
    watching.cancel()
    # 120 MB were sent. The client in this process needs a part of the memory, too.
    assert peaks[0] - before < 60e6


async def test_an_upload_is_deleted_with_its_job(api: Api, tmp_path: Path) -> None:
    job = await api.upload()
    assert len(entries(tmp_path)) == 2
    later = 10**10
    assert await api.context.registry.clean(later) == 0  # the job exists
    await api.context.connection.call(lambda redis: redis.delete(f"stt:job:{job['id']}"))
    assert await api.context.registry.clean(2 * later) == 1
    assert not entries(tmp_path)
    assert not await registered(api)


async def test_what_a_killed_process_received_is_deleted_by_another_one(api: Api, tmp_path: Path) -> None:
    store, registry = api.context.uploads, api.context.registry
    assert store is not None
    address = store.place("a.wav")
    await registry.begin(address)
    registry._open.clear()  # the process is gone
    (tmp_path / "uploads" / address.path.parent.name).mkdir()
    await asyncio.to_thread(address.path.write_bytes, b"half a f")
    assert await registry.clean() == 0
    assert await registry.clean(10**10) == 1
    assert not entries(tmp_path)


async def test_uploads_to_a_bucket(
    redis_url: str, tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    settings = api_settings(redis_url, tmp_path, uploads=f"s3://{BUCKET}/up", s3_endpoint=s3.endpoint)
    async with running_api(settings) as api:
        content = os.urandom(6 << 20)  # more than one part
        job = await api.upload(content)
        record = await api.context.ledger.get(job["id"])
        assert record is not None
        assert json.loads(record.spec)["source"].startswith(f"s3://{BUCKET}/up/")
        assert (await api.alice.get(job["url"])).json()["source"] == "call.wav"
        audio = await api.alice.get(f"{job['url']}/audio")
        assert audio.content == content
        part = await api.alice.get(f"{job['url']}/audio", headers={"range": "bytes=100-199"})
        assert (part.status_code, part.content) == (206, content[100:200])
        assert (await api.upload(content))["id"] == job["id"]
        await api.context.connection.call(lambda redis: redis.delete(f"stt:job:{job['id']}"))
        assert await api.context.registry.clean(10**10) == 1
        assert (await api.alice.get(f"{job['url']}/audio")).status_code == 404


# -- results -----------------------------------------------------------------------------------------------------------


async def test_the_transcript_in_every_format(api: Api) -> None:
    job = await api.upload(name="Anruf ü.wav")
    path = f"{job['url']}/transcript"
    early = await api.alice.get(path)
    assert (early.status_code, early.json()["code"]) == (409, "not_finished")
    record = await api.context.ledger.get(job["id"])
    assert record is not None
    transcript = a_transcript(job["id"], tuple(a_segment(f"word {n}", n, n + 1) for n in range(2)))
    source = transcript.source.model_copy(update={"path": json.loads(record.spec)["source"], "name": "Anruf ü.wav"})
    await api.transcribe(job["id"], 2, transcript.model_copy(update={"source": source}))
    for fmt in FORMATS:
        answer = await api.alice.get(path, params={"format": fmt})
        assert answer.status_code == 200, answer.text
        assert "word 0" in answer.text or fmt == "ctm"
        assert str(api.context.settings.uploads) not in answer.text
        assert answer.headers["content-disposition"].endswith(f"Anruf%20%C3%BC.{fmt}")
        assert answer.headers["x-content-type-options"] == "nosniff"
    # A page with scripts on the origin of the console must not use its cookie.
    html = await api.alice.get(path, params={"format": "html"})
    assert html.headers["content-security-policy"] == "sandbox allow-scripts"
    assert html.headers["content-disposition"].startswith("attachment")
    marked = await api.alice.get(path, params={"format": "srt", "bom": "true", "preset": "netflix-en"})
    assert marked.content.startswith(b"\xef\xbb\xbf")
    assert (await api.alice.get(path, params={"format": "docx"})).status_code == 422


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("", 200, b"0123456789"),
        ("bytes=0-0", 206, b"0"),
        ("bytes=3-", 206, b"3456789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-99", 206, b"56789"),
        ("bytes=-99", 206, b"0123456789"),
        ("bytes=4-99999999999999999999", 206, b"456789"),
        ("bytes=99999999999999999999-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=5-2", 200, b"0123456789"),
        ("bytes=0-1,4-5", 200, b"0123456789"),
        ("lines=0-1", 200, b"0123456789"),
    ],
)
async def test_ranges_of_the_audio(api: Api, header: str, status: int, expected: bytes) -> None:
    job = await api.upload(b"0123456789")
    answer = await api.alice.get(f"{job['url']}/audio", headers={"range": header} if header else {})
    assert answer.status_code == status
    if status != 416:
        assert answer.content == expected
        assert answer.headers["content-type"] == "audio/wav"
    if status == 206:
        start = b"0123456789".index(expected)
        assert answer.headers["content-range"] == f"bytes {start}-{start + len(expected) - 1}/10"
    if status == 416:
        assert answer.headers["content-range"] == "bytes */10"


async def test_an_uploaded_page_is_not_served_as_a_page(api: Api) -> None:
    job = await api.upload(b"<script>alert(1)</script>", "a.html")
    answer = await api.alice.get(f"{job['url']}/audio")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_lost_audio_file_is_a_problem(api: Api, tmp_path: Path) -> None:
    job = await api.upload()
    for path in (tmp_path / "uploads").rglob("*.wav"):
        path.unlink()
    answer = await api.alice.get(f"{job['url']}/audio")
    assert (answer.status_code, answer.json()["code"]) == (404, "source_not_found")
    assert str(tmp_path) not in answer.text
