"""The producer API with a real Valkey: following a job (sync and async), concurrent services, thousands of jobs."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.client.handles import submit, submit_async, submit_many, submit_many_async
from tests.support.fleet import environment
from tests.support.forked_process import start_process
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import allowed_s, async_wait_until, wait_until
from worker.errors import BadJob, QueueFull, SourceNotFound
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import Settings

Audio = Callable[[str], Path]


@pytest.fixture
def audio(tmp_path: Path) -> Audio:
    def make(name: str) -> Path:
        path = tmp_path / name
        path.write_bytes(name.encode())
        return path

    return make


def queued(raw: redis.Redis) -> int:
    return int(raw.llen("stt:celery:stt"))


async def work(ledger: Ledger, job_id: str, pieces: int, seen: Callable[[int], bool]) -> None:
    """Commit segments as a worker does, each only after the reader has received the previous one."""
    lease = await ledger.acquire(job_id, "w")
    assert isinstance(lease, Lease)
    segments = tuple(a_segment(f"word {n}", n, n + 1) for n in range(pieces))
    for number, segment in enumerate(segments):
        await lease.commit(segment)
        await async_wait_until(lambda number=number: seen(number + 1), f"piece {number} is seen")
    await lease.finish(a_transcript(job_id, segments), [])


async def test_commits_arrive_one_by_one_in_a_program_with_a_loop(
    settings: Settings, ledger: Ledger, audio: Audio
) -> None:
    handle = await submit_async(audio("a.wav"), settings=settings)
    assert (await handle.status()).state is JobState.QUEUED
    with pytest.raises(TimeoutError):
        await handle.wait(timeout_s=0.05)
    heard: list[str] = []
    async with asyncio.timeout(allowed_s(20)), asyncio.TaskGroup() as group:
        group.create_task(work(ledger, handle.id, 4, lambda count: len(heard) >= count))
        async for segment in handle.commits():
            heard.append(segment.text)
    assert heard == [f"word {n}" for n in range(4)]
    assert (await handle.wait(timeout_s=25)).state is JobState.DONE
    assert '"word 3"' in (await handle.transcript() or "")
    assert [segment.text async for segment in handle.commits()] == heard, "a second reader gets all segments"


async def test_commits_arrive_one_by_one_in_a_program_without_a_loop(
    settings: Settings, ledger: Ledger, audio: Audio
) -> None:
    handle = await asyncio.to_thread(submit, audio("a.wav"), settings=settings)
    heard: list[str] = []
    states: list[JobState] = []

    def follow() -> None:
        heard.extend(segment.text for segment in _noting(handle.commits(), heard))
        states.append(handle.wait(timeout_s=25).state)

    thread = threading.Thread(target=follow)
    thread.start()
    await work(ledger, handle.id, 3, lambda count: len(_noted) >= count)
    await asyncio.to_thread(thread.join, 20)
    assert states == [JobState.DONE]
    assert heard == ["word 0", "word 1", "word 2"]


_noted: list[str] = []


def _noting(segments: Iterator[Any], _: list[str]) -> Iterator[Any]:
    _noted.clear()
    for segment in segments:
        _noted.append(segment.text)
        yield segment


async def test_following_a_job_ends_when_it_expires(settings: Settings, raw: redis.Redis, audio: Audio) -> None:
    handle = await submit_async(audio("a.wav"), settings=settings)
    raw.delete(f"stt:job:{handle.id}")
    assert [segment async for segment in handle.commits()] == []
    with pytest.raises(KeyError):
        await handle.wait(timeout_s=25)
    with pytest.raises(KeyError):
        await handle.status()


async def test_a_cancelled_wait_ends(settings: Settings, audio: Audio) -> None:
    handle = await submit_async(audio("a.wav"), settings=settings)
    waiting = asyncio.create_task(handle.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_waiting_for_a_batch(settings: Settings, ledger: Ledger, audio: Audio) -> None:
    batch = await submit_many_async([audio(f"{n}.wav") for n in range(5)], batch="b", settings=settings)
    async with asyncio.timeout(allowed_s(20)), asyncio.TaskGroup() as group:
        waiting = group.create_task(batch.wait(timeout_s=15))
        for job in batch.jobs:
            await work(ledger, job.id, 1, lambda _: True)
    assert waiting.result().counts == {JobState.DONE: 5}
    assert (await batch.status()).id == "b"


def test_concurrent_services_get_the_same_job(redis_url: str, raw: redis.Redis, audio: Audio, tmp_path: Path) -> None:
    logs = [tmp_path / f"service-{number}.log" for number in range(4)]
    arguments = (redis_url, str(audio("a.wav")), str(tmp_path / "go"))
    processes = [start_process("tests.support.submitting", *arguments, env=environment(), log=log) for log in logs]
    wait_until(lambda: all("ready" in log.read_text() for log in logs), "the services are ready", timeout_s=60)
    (tmp_path / "go").touch()
    assert [process.wait(60) for process in processes] == [0] * 4
    found = [json.loads(log.read_text().splitlines()[-1]) for log in logs]
    assert len({identity for identity, _ in found}) == 1
    assert sorted(before or "" for _, before in found) == ["", "queued", "queued", "queued"]
    assert raw.zcard("stt:jobs") == 1
    assert [fields["event"] for _, fields in raw.xrange("stt:events")] == ["queued"]


async def test_an_idempotency_key_takes_precedence_over_the_content(
    settings: Settings, ledger: Ledger, audio: Audio
) -> None:
    first = await submit_async(audio("a.wav"), settings=settings, idempotency_key="call-17")
    other = await submit_async(audio("b.wav"), settings=settings, idempotency_key="call-17")
    assert (first.id, first.before, other.id, other.before) == ("call-17", None, "call-17", JobState.QUEUED)
    assert (await submit_async(audio("a.wav"), settings=settings)).id != "call-17"
    with pytest.raises(BadJob, match="idempotency_key"):
        await submit_async(audio("a.wav"), settings=settings, idempotency_key="a b")


async def test_force_repeats_a_finished_job(settings: Settings, ledger: Ledger, audio: Audio) -> None:
    handle = await submit_async(audio("a.wav"), settings=settings)
    await work(ledger, handle.id, 2, lambda _: True)
    same = await submit_async(audio("a.wav"), settings=settings)
    assert (same.id, same.before, (await same.status()).state) == (handle.id, JobState.DONE, JobState.DONE)
    again = await submit_async(audio("a.wav"), settings=settings, force=True)
    assert (again.id, (await again.status()).state, (await again.status()).commits) == (handle.id, JobState.QUEUED, 0)


async def test_a_bad_file_in_a_batch_queues_nothing(settings: Settings, raw: redis.Redis, audio: Audio) -> None:
    with pytest.raises(SourceNotFound, match=r"none\.wav"):
        await submit_many_async([audio("a.wav"), "/none.wav"], settings=settings)
    with pytest.raises(BadJob, match="priority"):
        await submit_many_async([audio("a.wav")], settings=settings, priority="urgent")
    assert raw.dbsize() == 0


async def test_jobs_above_the_queue_limit_are_refused_and_can_be_queued_later(
    settings: Settings, ledger: Ledger, raw: redis.Redis, audio: Audio
) -> None:
    bounded = settings.model_copy(update={"queue_max": 3})
    files = [audio(f"{n}.wav") for n in range(5)]
    with pytest.raises(QueueFull, match="3 jobs wait already"):
        await submit_many_async(files, batch="b", settings=bounded)
    assert raw.zcard("stt:queue") == 3
    assert queued(raw) >= 3, "the queued jobs stay queued"
    assert len(await ledger.batch("b")) == 3
    with pytest.raises(QueueFull):
        await submit_async(files[4], settings=bounded)
    assert (await submit_async(files[0], settings=bounded)).before is JobState.QUEUED
    for n in range(3):
        lease = await ledger.acquire_next("", f"w{n}")
        assert isinstance(lease, Lease)
        await lease.finish(a_transcript(lease.job_id), [])
    batch = await submit_many_async(files, batch="b", settings=bounded)
    assert [job.before for job in batch.jobs] == [JobState.DONE] * 3 + [None] * 2


@pytest.mark.bench
def test_ten_thousand_jobs(settings: Settings, raw: redis.Redis, tmp_path: Path) -> None:
    second = bytes(32044)
    files = []
    for number in range(10_000):
        path = tmp_path / f"{number:05}.wav"
        path.write_bytes(number.to_bytes(4, "big") + second)
        files.append(path)
    submit(files[0], settings=settings, idempotency_key="first")  # so that imports and connecting are not measured
    before = raw.info("memory")["used_memory"]
    started = time.perf_counter()
    batch = submit_many(files, settings=settings)
    took_s = time.perf_counter() - started
    used = raw.info("memory")["used_memory"] - before
    record = sum(raw.memory_usage(f"stt:job:{job.id}", samples=0) for job in batch.jobs[:100]) / 100
    print(  # noqa: T201  the measurement
        f"\n{len(files) / took_s:.0f} jobs/s; {used / len(files):.0f} bytes a job in Redis, {record:.0f} its record"
    )
    assert queued(raw) == len(files) + 1
    assert len(files) / took_s >= 2000


async def test_a_follower_sees_a_commit_at_once_and_not_at_its_next_query(
    settings: Settings, ledger: Ledger, audio: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.client.polling.poll_pause_s", lambda _idle: 600.0)
    handle = await submit_async(audio("a.wav"), settings=settings)
    lease = await ledger.acquire(handle.id, "worker")
    assert isinstance(lease, Lease)
    seen: asyncio.Queue[float] = asyncio.Queue()

    async def follow() -> None:
        async for _ in handle.commits():
            seen.put_nowait(time.monotonic())

    following = asyncio.create_task(follow())
    try:
        for number in range(3):  # with the pause between two queries, each would take 10 minutes
            await lease.commit(a_segment(f"word {number}", number, number + 1))
            await asyncio.wait_for(seen.get(), allowed_s(8))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
