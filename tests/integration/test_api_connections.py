"""Unusual connections: endless headers, clients that stop, pipelining, and invalid HTTP. They must not fill the memory
or stay open. Valid requests of unusual clients are served."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.api import Api, api_settings, problem, running_api
from tests.support.redis_server import Valkey
from tests.support.wait import allowed_s

HOST = b"Host: 127.0.0.1\r\n"
KEY = HOST + b"x-api-key: alice-key\r\n"
JSON = KEY + b"Content-Type: application/json\r\n"


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path)) as api:
        yield api


async def exchange(api: Api, *parts: bytes) -> bytes:
    """Send bytes, and return the answer up to the end of the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    answer = b""
    try:
        for part in parts:
            writer.write(part)
        async with asyncio.timeout(allowed_s(30)):
            while data := await reader.read(1 << 16):
                answer += data
    except ConnectionError:
        pass
    finally:
        writer.close()
    return answer


def status(answer: bytes) -> int:
    """Check that an answer is a problem document. Returns its status."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    assert json.loads(body)["status"] == int(head.split()[1])
    return int(head.split()[1])


async def test_an_endless_part_of_a_request_closes_the_connection(api: Api) -> None:
    chunked = b"POST /v1/jobs HTTP/1.1\r\n" + JSON + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
    cases = {
        "header": (b"GET / HTTP/1.1\r\n" + HOST + b"a: ", b"x" * 1000),
        "headers": (b"GET / HTTP/1.1\r\n" + HOST, b"a: b\r\n" * 100),
        "path": (b"GET /", b"x" * 1000),
        "trailers": (chunked + b"0\r\n", b"a: b\r\n" * 100),
        "chunk extension": (chunked + b"2;a=", b"x" * 1000),
    }
    for name, (start, part) in cases.items():
        answer = await exchange(api, start, *[part] * 1000)
        assert answer == b"" or status(answer) == 431, name


async def test_clients_that_stop_do_not_stay_connected(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_protocol.HEAD_S", "http_protocol.LINGER_S", "body.BODY_S"):
        monkeypatch.setattr(f"tasks.api.{name}", 0.2)
    me = b"GET /v1/me HTTP/1.1\r\n" + KEY + b"\r\n"
    refused = b"POST /nothing HTTP/1.1\r\n" + KEY + b"Content-Length: 1000000\r\n\r\nabc"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))

    async def trickle() -> None:
        """Send a body so slowly that each pause is allowed."""
        writer.write(b"POST /v1/jobs HTTP/1.1\r\n" + JSON + b"Content-Length: 1000\r\n\r\n")
        for _ in range(100):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    trickling = asyncio.create_task(trickle())
    answers = await asyncio.gather(
        exchange(api), exchange(api, me[:30]), exchange(api, me, me[:30]), exchange(api, refused)
    )
    assert b" 408 " in await asyncio.wait_for(reader.readline(), allowed_s(20))
    trickling.cancel()
    writer.close()
    assert status(answers[0]) == status(answers[1]) == 408
    assert answers[2].count(b"HTTP/1.1 ") == 2
    assert b" 408 " in answers[2]
    assert status(answers[3]) == 404


async def test_pipelined_requests_are_answered_in_order_up_to_a_limit(api: Api) -> None:
    me, last = (b"GET /v1/me HTTP/1.1\r\n" + KEY + rest for rest in (b"\r\n", b"Connection: close\r\n\r\n"))
    assert (await exchange(api, me * 9 + last)).count(b"HTTP/1.1 200 ") == 10
    assert (await exchange(api, me * 2000)).count(b"HTTP/1.1 200 ") < 20


async def test_invalid_http_gets_a_problem_document(api: Api) -> None:
    both = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for head, expected in [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"Host: other\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"POST /v1/jobs HTTP/1.1\r\n" + JSON + both, 400),
        (b"POST /v1/jobs HTTP/1.1\r\n" + JSON + b"Content-Length: 99999999999999999999999\r\n\r\n", 400),
    ]:
        assert status(await exchange(api, head)) == expected, head


async def test_a_client_that_offers_another_protocol_is_served(api: Api) -> None:
    """Java's client asks for HTTP/2 in this way with each request."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n"
    body = b'{"source": "/x"}'
    post = b"POST /v1/jobs HTTP/1.1\r\n" + JSON + offer + b"Content-Length: %d\r\n\r\n" % len(body) + body
    last = b"GET /v1/me HTTP/1.1\r\n" + KEY + b"Connection: close\r\n\r\n"
    answer = await exchange(api, post, last)
    assert b"HTTP/1.1 403 " in answer  # the body was read: its source is refused
    assert b"source_refused" in answer
    assert b"HTTP/1.1 200 " in answer


async def test_a_key_in_the_trailer_of_a_body_is_ignored(api: Api) -> None:
    trailer = b"x-api-key: alice-key\r\nConnection: close\r\n\r\n"
    head = HOST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n"
    assert status(await exchange(api, b"POST /v1/jobs/retry HTTP/1.1\r\n" + head + trailer)) == 401


async def test_status_405_lists_the_methods_of_the_path(api: Api) -> None:
    answer = await api.alice.put("/v1/jobs")
    assert "use GET, HEAD, POST" in problem(answer, 405)["detail"]
    assert answer.headers["allow"] == "GET, HEAD, POST"
    for path in ("/v1/jobs/retry", "/v1/batches/a/pause"):
        assert (await api.alice.put(path)).headers["allow"] == "POST"


async def test_a_compressed_body_is_refused_with_the_reason(api: Api) -> None:
    answer = await api.alice.post(
        "/v1/jobs", content=b"x", headers={"content-encoding": "gzip", "content-type": "application/json"}
    )
    assert "Content-Encoding" in problem(answer, 415)["detail"]


@pytest.mark.parametrize("how", ["hung", "stopped"])
async def test_without_redis_every_request_gets_503_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """`hung`: Redis accepts connections but does not answer. No part of the refused upload remains."""
    (tmp_path / "redis").mkdir()
    valkey = Valkey(tmp_path / "redis", appendonly="no")
    try:
        async with running_api(api_settings(valkey.url, tmp_path)) as api:
            job = await api.upload()
            # Only now, because on a busy machine Redis can need longer than this for the upload.
            monkeypatch.setattr("tasks.api.redis_time_limit.COMMAND_S", 0.5)
            if how == "hung":
                valkey.signal(signal.SIGSTOP)
            else:
                valkey.stop()
            began = time.monotonic()
            file = {"file": ("b.wav", b"other")}
            answers = await asyncio.gather(
                api.alice.get(job["url"]),
                api.alice.get("/v1/jobs"),
                api.alice.post("/v1/jobs", files=file),
                api.alice.post("/v1/audio/transcriptions", files=file),
                api.boss.get("/v1/stats"),
                api.alice.delete(job["url"]),
            )
            for answer in answers:
                assert "redis" in problem(answer, 503)["detail"].lower()
                assert int(answer.headers["retry-after"]) > 0
            assert time.monotonic() - began < 20  # the limit of a command, not that of its retries
            assert len([path for path in (tmp_path / "uploads").rglob("*") if path.is_file()]) == 1
            if how == "hung":
                valkey.signal(signal.SIGCONT)
                monkeypatch.undo()
                assert (await api.alice.get(job["url"])).status_code == 200
    finally:
        valkey.signal(signal.SIGCONT)
        valkey.kill()
