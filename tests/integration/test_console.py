"""The console's server side: sessions, rights, and requests of other sites, over HTTP with a real Valkey."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
import redis

from tasks.api import event_streams
from tasks.console import operator_routes
from tests.support.console_server import KEYS, console_server, log_in, send
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import wait_until
from worker.errors import AccessRefused
from worker.ledger.connection import RedisConnection
from worker.ledger.key_breaker import KeyBreaker
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import load

T = TypeVar("T")


@pytest.fixture
def url(redis_url: str, tmp_path: Path) -> Iterator[str]:
    with console_server(redis_url, uploads=str(tmp_path / "uploads")) as url:
        yield url


def with_ledger(redis_url: str, work: Callable[[Ledger], Awaitable[T]]) -> T:
    async def run() -> T:
        ledger = Ledger(load({}, redis_url=redis_url))
        try:
            return await work(ledger)
        finally:
            await ledger.close()

    return asyncio.run(run())


async def fail(ledger: Ledger, job_id: str, code: str, reason: str, *, batch: str = "b") -> None:
    spec = json.dumps({"source": f"/in/{job_id}.wav"})
    await ledger.create_many([(job_id, spec)], batch=batch, producer="http:alice")
    lease = await ledger.acquire(job_id, "w")
    assert isinstance(lease, Lease)
    await lease.fail(code, reason)


def test_a_key_becomes_a_session_that_scripts_cannot_read(url: str) -> None:
    before = send(url, "GET", "/console/session").json
    assert (before["required"], before["principal"], before["csrf"]) == (True, None, "")
    assert send(url, "GET", "/v1/jobs").status == 401
    answer = send(url, "POST", "/console/login", {"key": "boss-key"}, origin=url)
    (cookie,) = answer.cookies
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert re.search(r"Max-Age=43200", cookie)
    assert "boss-key" not in cookie
    boss = log_in(url, "boss")
    assert boss.send("GET", "/v1/jobs").status == 200
    secure = send(url, "POST", "/console/login", {"key": "boss-key"}, origin=url.replace("http", "https")).cookies
    assert "Secure" in secure[0].split("; ")


@pytest.mark.parametrize("key", ["", "wrong", "boss-key\u200b", "boss-keyy", "Boss-key", "x" * 4096])
def test_a_wrong_key_starts_no_session(url: str, key: str) -> None:
    answer = send(url, "POST", "/console/login", {"key": key}, origin=url)
    assert answer.status in (401, 422)
    assert answer.cookies == []
    assert b"boss-key" not in answer.body


def test_guessing_keys_is_slowed_down(url: str) -> None:
    answers = [send(url, "POST", "/console/login", {"key": f"k{n}"}, origin=url) for n in range(21)]
    assert {one.status for one in answers[:20]} == {401}
    assert answers[20].status == 429
    assert int(answers[20].headers["retry-after"]) > 0
    assert send(url, "POST", "/console/login", {"key": "boss-key"}, origin=url).status == 429


def test_a_session_ends_with_logout_expiry_or_its_key(url: str, redis_url: str, raw: redis.Redis) -> None:
    first, second = log_in(url, "boss"), log_in(url, "boss")
    assert first.send("POST", "/console/logout").status == 204
    assert first.send("GET", "/v1/jobs").status == 401
    assert second.send("GET", "/v1/jobs").status == 200
    (name,) = raw.keys("stt:console:session:*")
    assert 0 < raw.ttl(name) <= 12 * 3600
    token = second.cookie.partition("=")[2]
    assert token not in name
    assert token not in (raw.get(name) or "")
    with console_server(redis_url, http_keys="boss:operate:another-key,x:read:boss-key2") as other:
        assert send(other, "GET", "/v1/jobs", cookie=recookied(second.cookie, other)).status == 401
    with console_server(redis_url, http_keys="boss:read:boss-key") as other:  # the session has the present role
        found = send(other, "GET", "/console/session", cookie=recookied(second.cookie, other)).json
        assert found["principal"]["role"] == "read"
    raw.delete(name)
    assert second.send("GET", "/v1/jobs").status == 401


def recookied(cookie: str, url: str) -> str:
    """The same token for a server on another port, whose cookie has another name."""
    return f"stt_session_{url.rpartition(':')[2]}={cookie.partition('=')[2]}"


@pytest.mark.parametrize("forged", ["", "x", "a" * 101, "é", "../x", "*", "boss-key"])
def test_a_forged_cookie_is_no_session(url: str, raw: redis.Redis, forged: str) -> None:
    raw.set("stt:console:session:x", "y")
    name = f"stt_session_{url.rpartition(':')[2]}"
    assert send(url, "GET", "/v1/jobs", cookie=f"{name}={forged}".encode().decode("latin-1")).status == 401


def test_changes_need_the_token_of_the_session(url: str) -> None:
    boss, other = log_in(url, "boss"), log_in(url, "boss")
    for path in ("/v1/jobs/a/retry", "/console/failures/retry", "/console/logout"):
        for token in ("", "x", other.csrf, "é"):
            headers = {"cookie": boss.cookie, "x_csrf_token": token.encode().decode("latin-1")}
            answer = send(url, "POST", path, {}, **headers)
            assert (answer.status, answer.json["code"]) == (403, "csrf"), (path, token)
    assert boss.send("POST", "/v1/jobs/a/retry").status == 404
    assert boss.send("DELETE", "/v1/jobs/a").status == 404


CROSS_SITE: list[dict[str, str]] = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
    {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
    {"sec_fetch_site": "same-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
]


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_another_site_cannot_use_a_session(url: str, headers: dict[str, str]) -> None:
    boss = log_in(url, "boss")
    for method, path in (("GET", "/v1/jobs"), ("GET", "/console/session"), ("GET", "/console/events"),
                         ("POST", "/console/logout"), ("DELETE", "/v1/jobs/a")):  # fmt: skip
        answer = boss.send(method, path, **headers)
        assert (answer.status, answer.json["code"]) == (403, "cross_site"), (method, path)
    assert send(url, "POST", "/console/login", {"key": "boss-key"}, **headers).status == 403
    assert boss.send("GET", "/v1/jobs").status == 200


@pytest.mark.parametrize("headers", CROSS_SITE, ids=str)
def test_another_site_cannot_use_a_console_without_keys(
    redis_url: str, raw: redis.Redis, headers: dict[str, str]
) -> None:
    with console_server(redis_url, http_keys="") as url:
        form = {"content_type": "text/plain", **headers}  # needs no permission of the server
        for method, path in (("POST", "/v1/jobs"), ("GET", "/v1/jobs"), ("POST", "/console/failures/retry"),
                             ("GET", "/console/events"), ("DELETE", "/v1/jobs/a")):  # fmt: skip
            assert send(url, method, path, {"source": "/etc/passwd"}, **form).status == 403, (method, path)
            assert send(url, method, path, {}, **form, x_api_key="k").status == 403, "a key changes nothing"
        assert send(url, "GET", "/v1/jobs").status == 200
        assert send(url, "GET", "/v1/jobs", origin=url).status == 200
    assert raw.keys("stt:job:*") == []


@pytest.mark.parametrize("keys", ["", "boss:operate:boss-key"])
def test_a_name_that_was_rebound_is_refused(redis_url: str, keys: str) -> None:
    with console_server(redis_url, http_keys=keys, http_hosts="stt.example.org") as url:
        port = url.rpartition(":")[2]
        for host in (f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", "evil.example"):
            for path in ("/", "/console/session", "/console/main.js", *(["/v1/jobs"] if not keys else [])):
                answer = send(url, "GET", path, host=host)
                assert (answer.status, answer.json["code"]) == (421, "wrong_host"), (host, path)
            for path in ("/healthz", "/readyz"):  # probes of a platform use names that this server does not know
                assert send(url, "GET", path, host=host).status == 200
                assert send(url, "GET", path, host=host, origin="http://evil.example:1").status == 403
            assert send(url, "POST", "/healthz", host=host).status == 421
        for host in (f"localhost:{port}", f"127.0.0.1:{port}", "stt.example.org"):
            assert send(url, "GET", "/console/session", host=host).status == 200
        if keys:  # a program with a key may use any name
            assert send(url, "GET", "/v1/jobs", host="any.example", x_api_key="boss-key").status == 200


def test_every_answer_is_protected_and_the_page_runs_only_its_own_scripts(url: str) -> None:
    for path in ("/", "/console/main.js", "/console/session", "/console/nothing", "/v1/jobs"):
        headers = send(url, "GET", path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        if not path.startswith("/v1"):
            assert "script-src 'self';" in headers["content-security-policy"]
    page = send(url, "GET", "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    tag = page.headers["etag"]
    assert send(url, "GET", "/", if_none_match=tag).status == 304
    for path in (
        "/console/../tasks/api/app.py",
        "/console/%2e%2e%2fx",
        "/console/__init__.py",
        "/console/index.html.bak",
    ):
        assert send(url, "GET", path).status == 404


@pytest.mark.parametrize("name", KEYS)
def test_each_role_reaches_its_own_routes_only(url: str, redis_url: str, name: str) -> None:
    with_ledger(redis_url, lambda ledger: fail(ledger, "a", "bad", "broken"))
    user, sees_all, operates = log_in(url, name), name != "alice", name == "boss"
    for path in ("/console/overview", "/console/failures", "/console/webhooks"):
        assert user.send("GET", path).status == (200 if sees_all else 403), path
    group = {"code": "bad", "reason": "broken"}
    assert user.send("POST", "/console/webhooks/retry", {"ids": []}).status == (200 if operates else 403)
    assert user.send("POST", f"/console/keys/{'0' * 16}/probe").status == (409 if operates else 403)
    assert user.send("POST", "/console/failures/retry", group).status == (200 if operates else 403)


def test_failures_are_grouped_by_reason_and_retried_as_a_group(url: str, redis_url: str) -> None:
    async def prepare(ledger: Ledger) -> None:
        for n in range(12):
            await fail(ledger, f"j{n}", "bad", f"/in/j{n}.wav: {n} bytes are missing", batch=f"b{n % 3}")
        await fail(ledger, "other", "worse", "gone")
        await ledger.create("fine", json.dumps({"source": "/in/fine.wav"}))

    with_ledger(redis_url, prepare)
    boss = log_in(url, "boss")
    found = boss.send("GET", "/console/failures").json
    assert [(group["code"], group["count"]) for group in found["groups"]] == [("bad", 12), ("worse", 1)]
    assert found["total"] == found["read"] == 13
    first = found["groups"][0]
    assert first["shown"] == "0–11 bytes are missing"
    assert sorted(one["name"] for one in first["examples"]) == sorted(f"j{n}.wav" for n in range(12))
    assert boss.send("POST", "/console/failures/retry", {"code": "bad", "reason": first["reason"]}).json == {
        "retried": 12
    }
    record = with_ledger(redis_url, lambda ledger: ledger.get("j3"))
    assert record is not None
    assert record.state is JobState.QUEUED
    assert [one["code"] for one in boss.send("GET", "/console/failures").json["groups"]] == ["worse"]


def test_the_overview_shows_queue_workers_and_paused_keys(url: str, redis_url: str) -> None:
    async def pause(ledger: Ledger) -> str:
        connection = RedisConnection(redis_url)
        breaker = KeyBreaker(load({}, redis_url=redis_url, api_key="k"), connection)
        await breaker.check()
        await breaker.refused(AccessRefused("no credit"), jitter=0.5)
        await ledger.create("a", json.dumps({"source": "/a.wav"}))
        await connection.close()
        return breaker.name

    name = with_ledger(redis_url, pause)
    boss = log_in(url, "boss")
    data = boss.send("GET", "/console/overview").json
    assert (data["queue"]["queued"], data["counts"]["queued"], data["workers"]) == (1, 1, [])
    assert len(data["activity"]) == 60
    assert [(key["name"], key["reason"]) for key in data["paused_keys"]] == [(name, "no credit")]
    assert boss.send("POST", f"/console/keys/{name}/probe").status == 200


def test_live_updates_name_changed_jobs(url: str, redis_url: str) -> None:
    boss, alice = log_in(url, "boss"), log_in(url, "alice")
    assert first_events(boss.url, boss.cookie, redis_url, wait_for_overview=True) == {"overview": True, "jobs": ["a"]}
    assert first_events(alice.url, alice.cookie, redis_url, wait_for_overview=False) == {"overview": False, "jobs": []}


def first_events(url: str, cookie: str, redis_url: str, *, wait_for_overview: bool) -> dict[str, Any]:
    """Follow the stream until a job has changed."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/console/events", headers={"cookie": cookie})
    answer = connection.getresponse()
    found: dict[str, Any] = {"overview": False}
    raw = redis.Redis.from_url(redis_url)
    try:
        assert answer.readline() == b"retry: 1500\n"
        name = ""
        while "jobs" not in found or (wait_for_overview and not found["overview"]):
            raw.xadd("stt:events", {"event": "progress", "job": "a", "partial": "secret"})
            line = answer.readline().decode().rstrip("\n")
            assert "secret" not in line
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                found |= {"overview": True} if name == "overview" else {"jobs": json.loads(line[6:])["ids"]}
    finally:
        raw.close()
        connection.close()
    return found


def test_live_updates_end_with_the_session(url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_routes, "CHECK_S", 0.1)
    boss = log_in(url, "boss")
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    connection.request("GET", "/console/events", headers={"cookie": boss.cookie})
    answer = connection.getresponse()
    assert answer.readline() == b"retry: 1500\n"
    assert boss.send("POST", "/console/logout").status == 204
    answer.read()  # returns at the end of the stream
    connection.close()


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/a/events"])
def test_events_of_the_api_end_with_the_session(
    url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(event_streams, "CHECK_S", 0.1)
    monkeypatch.setattr(event_streams, "HEARTBEAT_S", 0.1)

    async def create(ledger: Ledger) -> None:
        await ledger.create_many([("a", json.dumps({"source": "/in/a.wav"}))], producer="http:alice")

    with_ledger(redis_url, create)
    boss = log_in(url, "boss")
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", path, headers={"cookie": boss.cookie})
    answer = connection.getresponse()
    assert answer.readline() == b"retry: 1000\n"
    assert boss.send("POST", "/console/logout").status == 204
    wait_until(lambda: not answer.readline(), "the stream ends")
    connection.close()


def test_the_transcript_page_plays_the_audio_of_this_server(url: str, redis_url: str) -> None:
    async def finish(ledger: Ledger) -> None:
        await ledger.create_many([("a", json.dumps({"source": "/secret/folder/a.wav"}))], producer="http:alice")
        lease = await ledger.acquire("a", "w")
        assert isinstance(lease, Lease)
        said = a_transcript("a", (a_segment("<script>window.pwned=1</script>"),))
        source = said.source.model_copy(update={"path": "/secret/folder/a.wav", "name": "a.wav"})
        await lease.finish(said.model_copy(update={"source": source}), ())

    with_ledger(redis_url, finish)
    alice = log_in(url, "alice")
    page = alice.send("GET", "/console/jobs/a/page")
    assert page.status == 200
    assert b'src="../../../v1/jobs/a/audio"' in page.body
    assert b"/secret" not in page.body
    assert b"<script>window" not in page.body
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "frame-ancestors 'none'" in policy
    assert alice.send("GET", "/console/jobs/none/page").status == 404
    assert send(url, "GET", "/console/jobs/a/page").status == 401


def test_jobs_of_an_earlier_version_are_listed(redis_url: str, raw: redis.Redis) -> None:
    async def create(ledger: Ledger) -> None:
        await ledger.create("a", json.dumps({"source": "/a.wav"}))

    with_ledger(redis_url, create)
    raw.delete("stt:listing", "stt:listing:queued")
    raw.hdel("stt:job:a", "listed")
    with console_server(redis_url) as url:
        boss = log_in(url, "boss")
        wait_until(lambda: len(boss.send("GET", "/v1/jobs").json["jobs"]) == 1, "the listing is corrected")
