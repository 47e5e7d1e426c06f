"""The HTTP API under load, and after a crash: memory of uploads, thousands of followers, connections that are cut, and
`kill -9`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
import redis

from tests.support.api import KEYS, Api, ServerEvent, api_settings, events_of, running_api, words_of
from tests.support.api_process import ApiProcess, api_process
from tests.support.proxy import proxy as serving_proxy
from tests.support.samples_of import a_segment
from tests.support.wait import allowed_s, async_wait_until
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import load

MB = 1_000_000
UPLOADS, AT_ONCE = 1_000, 100
FOLLOWERS, JOBS = 2_000, 50


# -- measurements ------------------------------------------------------------------------------------------------------


async def upload(port: int, parts: list[bytes]) -> int:
    """Upload the parts as one file. Returns the status. A client of its own, because httpx2 needs more CPU time than
    the server."""
    size = sum(map(len, parts))
    start = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    end = b"\r\n--xyz--\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: alice-key\r\nConnection: close\r\n"
        b"Content-Type: multipart/form-data; boundary=xyz\r\nContent-Length: %d\r\n\r\n"
        % (len(start) + size + len(end))
    )
    writer.write(start)
    for part in parts:
        writer.write(part)
        await writer.drain()
    writer.write(end)
    line = await reader.readline()
    await reader.read()
    writer.close()
    return int(line.split()[1])


@pytest.mark.bench
@pytest.mark.timeout(1800)
async def test_1000_uploads_of_10_mb_need_at_most_100_mb(redis_url: str, tmp_path: Path) -> None:
    block = os.urandom(MB)
    with api_process(redis_url, tmp_path, STT_LOG_LEVEL="warning") as api:

        async def send(number: int) -> int:
            # Some contents are equal, so that the disk needs no 10 GB: of equal uploads one file remains.
            return await upload(api.port, [b"%08d" % (number % 20), *[block] * 10])

        await send(0)
        before, peak, waiting, statuses = api.memory_bytes(), 0, iter(range(UPLOADS)), []

        async def client() -> None:
            for number in waiting:
                statuses.append(await send(number))

        async def watch() -> None:
            nonlocal peak
            while True:
                peak = max(peak, api.memory_bytes())
                await asyncio.sleep(0.05)

        began, cpu_s, watching = time.monotonic(), api.cpu_s(), asyncio.create_task(watch())
        await asyncio.gather(*(client() for _ in range(AT_ONCE)))
        watching.cancel()
        print(  # noqa: T201
            f"memory +{(peak - before) / MB:.0f} MB, {time.monotonic() - began:.0f} s, CPU {api.cpu_s() - cpu_s:.0f} s"
        )
    assert statuses == [202] * UPLOADS
    assert peak - before <= 100 * MB


async def submit(api: ApiProcess, count: int) -> list[str]:
    async with httpx2.AsyncClient(base_url=api.url, headers={"x-api-key": KEYS["boss"]}, timeout=120) as client:
        files = [{"file": (f"{n}.wav", b"audio %d" % n)} for n in range(count)]
        answers = [await client.post("/v1/jobs", files=file) for file in files]
    return [answer.json()["id"] for answer in answers]


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize("followers", [JOBS, FOLLOWERS])
async def test_a_commit_reaches_its_followers_within_50_ms(redis_url: str, tmp_path: Path, followers: int) -> None:
    """The median, with one follower for each of 50 jobs and with 2,000 followers."""
    commits = 3
    ledger = Ledger(load({}, redis_url=redis_url, lease_s=600))
    late: list[float] = []
    committed: dict[bytes, float] = {}
    with api_process(redis_url, tmp_path, STT_LOG_LEVEL="warning") as api:
        jobs = await submit(api, JOBS)
        connected = asyncio.Semaphore(0)

        async def follow(job: str) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            head = f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nx-api-key: boss-key\r\n\r\n"
            writer.write(head.encode())
            await reader.readuntil(b"event: status")
            connected.release()
            for _ in range(commits):
                await reader.readuntil(b"event: commit")
                now = time.monotonic()
                word = (await reader.readuntil(b"\n\n")).partition(b'"text":"')[2].partition(b'"')[0]
                late.append(now - committed[word])
            writer.close()

        following = []
        for number in range(followers):
            following.append(asyncio.create_task(follow(jobs[number % JOBS])))
            await asyncio.sleep(0.002)
        for _ in range(followers):
            await connected.acquire()
        cpu_s = api.cpu_s()
        leases = [await ledger.acquire(job, "w") for job in jobs]
        for number in range(commits):
            for position, lease in enumerate(leases):
                assert isinstance(lease, Lease)
                word = f"word-{position}-{number}"
                committed[word.encode()] = time.monotonic()
                await lease.commit(a_segment(word, number, number + 1))
                await asyncio.to_thread(announce, redis_url, lease.job_id)
                await asyncio.sleep(0.05)
        await asyncio.wait_for(asyncio.gather(*following), allowed_s(300))
        median_ms = statistics.median(late) * 1000
        print(f"{followers} followers: median {median_ms:.1f} ms, CPU {api.cpu_s() - cpu_s:.1f} s, "  # noqa: T201
              f"{api.memory_bytes() / MB:.0f} MB")  # fmt: skip
    await ledger.close()
    assert len(late) == followers * commits
    assert median_ms <= 50


def announce(redis_url: str, job_id: str) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.xadd("stt:events", {"event": "committed", "job": job_id})


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def api(redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with running_api(api_settings(redis_url, tmp_path)) as api:
        yield api


async def follow_to_end(client: httpx2.AsyncClient, path: str) -> tuple[list[ServerEvent], int]:
    """Follow a job as an EventSource does. Returns its events, and how often the connection was cut."""
    found: list[ServerEvent] = []
    last, cuts = "", 0
    while True:
        try:
            headers = {"last-event-id": last} if last else {}
            async with client.stream("GET", path, headers=headers) as answer:
                async for event in events_of(answer):
                    found.append(event)
                    last = event.id or last
                    if event.name == "end":
                        return found, cuts
        except httpx2.HTTPError:
            pass
        cuts += 1
        await asyncio.sleep(0.02)


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_every_commit_arrives_once_through_a_proxy_that_cuts_connections(api: Api) -> None:
    commits, rng = 40, random.Random(20)
    jobs = [await api.upload(b"%d" % number) for number in range(JOBS)]
    running = True

    async def work(job_id: str) -> None:
        lease = await api.lease(job_id)
        for number in range(commits):
            await api.commit(lease, number)
            await asyncio.sleep(rng.random() / 4)
        await lease.fail("internal", "the end")
        await api.context.producer.events.publish("failed", job_id)

    async with serving_proxy(api.url) as proxy:

        async def cut() -> None:
            while running:
                await asyncio.sleep(rng.random() / 5)
                proxy.reset_some(rng, 8)

        clients = httpx2.AsyncClient(
            base_url=proxy.url, headers={"x-api-key": KEYS["alice"]}, timeout=60, limits=httpx2.Limits()
        )
        async with clients as client:
            following = [asyncio.create_task(follow_to_end(client, f"{job['url']}/events")) for job in jobs]
            cutting = asyncio.create_task(cut())
            await asyncio.gather(*(work(job["id"]) for job in jobs))
            running = False
            await cutting
            found = await asyncio.wait_for(asyncio.gather(*following), allowed_s(120))
    for events, _ in found:
        assert words_of(events) == [f"word {number}" for number in range(commits)]
    assert sum(cuts for _, cuts in found) > JOBS


def stored(folder: Path) -> set[Path]:
    # Unlike Path.rglob, os.walk accepts that files are deleted at the same time.
    return {Path(place) / name for place, _, names in os.walk(folder / "uploads") for name in names}


@pytest.mark.chaos
@pytest.mark.timeout(300)
async def test_a_killed_process_loses_no_accepted_job_and_leaves_no_part_of_a_file(
    redis_url: str, tmp_path: Path, raw: redis.Redis
) -> None:
    accepted: dict[str, bytes] = {}
    with api_process(redis_url, tmp_path) as api:
        headers = {"x-api-key": KEYS["boss"]}
        async with httpx2.AsyncClient(base_url=api.url, headers=headers, timeout=60) as client:

            async def send(number: int) -> None:
                while True:
                    content = os.urandom(300_000)
                    try:
                        answer = await client.post("/v1/jobs", files={"file": (f"{number}.wav", content)})
                    except httpx2.HTTPError:
                        return
                    assert answer.status_code == 202
                    accepted[answer.json()["id"]] = hashlib.sha256(content).digest()

            sending = [asyncio.create_task(send(number)) for number in range(20)]
            await async_wait_until(lambda: len(accepted) >= 100, "a hundred uploads are accepted", timeout_s=60)
            api.process.send_signal(signal.SIGKILL)
            await asyncio.gather(*sending)
    files = stored(tmp_path)
    for job_id, digest in accepted.items():
        spec = json.loads(raw.hget(f"stt:job:{job_id}", "spec"))
        assert raw.hget(f"stt:job:{job_id}", "state") == "queued"
        assert hashlib.sha256(await asyncio.to_thread(Path(spec["source"]).read_bytes)).digest() == digest
    used = {Path(json.loads(raw.hget(key, "spec"))["source"]) for key in raw.scan_iter("stt:job:*")}
    assert files > used, "no upload was interrupted"
    for member in raw.zrange("stt:http:uploads", 0, -1):  # as if the time had passed
        raw.zadd("stt:http:uploads", {member: 1})
    with api_process(redis_url, tmp_path):
        for _ in range(600):
            files = stored(tmp_path)
            if files == used:
                break
            await asyncio.sleep(0.1)
    assert files == used
