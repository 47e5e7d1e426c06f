"""Real Celery workers with a real Valkey: jobs, duplicates, failures, SIGTERM, kill -9, inline jobs, other pools."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.app import make_app
from tasks.client.handles import submit, submit_many
from tasks.job_spec import JobStatus
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import allowed_s, wait_until
from worker.errors import BadJob, LedgerUnavailable, SourceNotFound
from worker.ledger.keys import Keys
from worker.ledger.ledger import JobState
from worker.settings import Settings, load


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url, lease_s=4, lease_renew_s=1, reap_interval_s=0.5)


@pytest.fixture
def audio(tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        return path

    return make


def until_ended(handle: Any, timeout_s: float = 60) -> JobStatus:
    status = wait_until(
        lambda: found if (found := handle.status()).state.ended else None, f"job {handle.id} ends", timeout_s=timeout_s
    )
    assert isinstance(status, JobStatus)
    return status


def commits(raw: redis.Redis, job_id: str) -> list[str]:
    return [json.loads(fields["segment"])["text"] for _, fields in raw.xrange(f"stt:job:{job_id}:commits")]


def queued(raw: redis.Redis) -> int:
    return sum(int(raw.llen(name)) for name in Keys("stt:").queue_lists("stt"))


def test_jobs_are_done_and_failures_reported(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    workers.start()
    done = submit(audio("ok-3.wav"), settings=settings, out_dir="/results", formats=("json", "srt"))
    damaged = submit(audio("damaged.wav"), settings=settings)
    bug = submit(audio("bug.wav"), settings=settings)

    status = until_ended(done)
    assert (status.state, status.commits, status.attempts) == (JobState.DONE, 3, 1)
    assert status.outputs == ("/results/ok-3.json", "/results/ok-3.srt")
    assert commits(raw, done.id) == ["word 0", "word 1", "word 2"]
    assert json.loads(done.transcript() or "")["job_id"] == done.id
    assert done.transcript() == raw.get(f"stt:job:{done.id}:transcript")

    status = until_ended(damaged)
    assert (status.state, status.error_code) == (JobState.FAILED, "source_damaged")
    assert "record it again" in (status.error or "")
    status = until_ended(bug)
    assert (status.state, status.error_code) == (JobState.FAILED, "internal")
    wait_until(lambda: raw.hlen("stt:celery:unacked") == 0, "every message is acknowledged", timeout_s=60)
    assert queued(raw) == 0
    # Celery sets no expiry on its own keys.
    assert not [key for key in raw.scan_iter("stt:*") if raw.ttl(key) <= 0 and not key.startswith("stt:celery:")]


def test_a_job_sent_many_times_runs_once(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    handle = submit(audio("slow-20.wav"), settings=settings)
    for _ in range(8):
        assert submit(audio("slow-20.wav"), settings=settings).id == handle.id
    assert queued(raw) == 9
    workers.start()
    workers.start()
    status = until_ended(handle)
    assert (status.state, status.attempts, status.commits) == (JobState.DONE, 1, 20)
    assert commits(raw, handle.id) == [f"word {n}" for n in range(20)]
    wait_until(
        lambda: queued(raw) == 0 and raw.hlen("stt:celery:unacked") == 0, "every double is acknowledged", timeout_s=60
    )
    assert submit(audio("slow-20.wav"), settings=settings).before is JobState.DONE
    assert queued(raw) == 0


def test_sigterm_releases_every_job_and_another_worker_continues(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    first = workers.start(STT_WORKER_SESSIONS="20")
    batch = submit_many([audio(f"slow-{150 + n}.wav") for n in range(20)], settings=settings)
    wait_until(
        lambda: all(job.state is JobState.RUNNING and job.commits > 2 for job in batch.status().jobs),
        "all jobs run",
        timeout_s=60,
        poll_s=0.1,
    )
    first.send_signal(signal.SIGTERM)
    started = time.monotonic()
    assert first.wait(60) == 0
    assert time.monotonic() - started < allowed_s(25)
    status = batch.status()
    assert status.counts == {JobState.QUEUED: 20}
    assert all(job.commits > 2 and job.attempts == 0 for job in status.jobs)
    # A message only wakes a worker, so one that was delivered twice (on a busy machine) is harmless.
    assert queued(raw) >= 20
    assert raw.hlen("stt:celery:unacked") == 0
    assert raw.zcard("stt:leases") == 0

    workers.start(STT_WORKER_SESSIONS="20")
    wait_until(lambda: batch.status().ended, "the second worker does the rest", timeout_s=90, poll_s=0.2)
    assert batch.status().counts == {JobState.DONE: 20}
    for number, handle in enumerate(batch.jobs):
        assert commits(raw, handle.id) == [f"word {n}" for n in range(150 + number)]


def test_no_job_is_lost_when_sigterm_follows_a_broken_connection(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    """After a broken connection, the broker delivers all messages again. The acknowledgement of these copies also
    removes the original messages."""
    worker = workers.start(STT_WORKER_SESSIONS="40")
    batch = submit_many([audio(f"slow-{400 + n}.wav") for n in range(10)], settings=settings)
    wait_until(lambda: all(job.commits > 2 for job in batch.status().jobs), "all jobs run", timeout_s=60, poll_s=0.1)
    raw.client_kill_filter(_type="normal", skipme=True)
    before = {job.id: job.commits for job in batch.status().jobs}
    wait_until(
        lambda: queued(raw) == 0 and raw.hlen("stt:celery:unacked") == 0, "the doubles came and went", timeout_s=60
    )
    wait_until(
        lambda: all(job.commits > before[job.id] for job in batch.status().jobs),
        "the jobs go on",
        timeout_s=60,
        poll_s=0.1,
    )
    assert {job.attempts for job in batch.status().jobs} == {1}
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert batch.status().counts == {JobState.QUEUED: 10}
    assert queued(raw) == 10


def test_the_job_of_a_killed_worker_continues_at_its_last_commit(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    victim = workers.start()
    handle = submit(audio("slow-60.wav"), settings=settings)
    wait_until(lambda: handle.status().commits > 5, "some commits", timeout_s=60)
    victim.kill()
    victim.wait(10)
    before = handle.status()
    assert before.state is JobState.RUNNING
    workers.start()
    status = until_ended(handle)
    assert (status.state, status.attempts) == (JobState.DONE, 2)
    assert commits(raw, handle.id) == [f"word {n}" for n in range(60)]


def test_a_job_that_kills_its_workers_fails(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    handle = submit(audio("die-9.wav"), settings=settings)
    raw.hset(f"stt:job:{handle.id}", "tries", settings.job_attempts + 1)
    workers.start()
    status = until_ended(handle)
    assert (status.state, status.error_code) == (JobState.FAILED, "attempts")


def test_a_cancelled_job_stops_and_is_not_started_again(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    from tasks.event_loop import shared_loop
    from worker.ledger.ledger import Ledger

    workers.start()
    handle = submit(audio("slow-400.wav"), settings=settings)
    wait_until(lambda: handle.status().commits > 2, "it runs", timeout_s=60)
    ledger = shared_loop().call(_made(Ledger, settings))
    shared_loop().call(ledger.cancel(handle.id))
    at_cancel = handle.status().commits
    wait_until(lambda: raw.hlen("stt:celery:unacked") == 0, "the worker lets it go", timeout_s=25)
    status = handle.status()
    assert (status.state, status.commits) == (JobState.CANCELLED, at_cancel)
    shared_loop().call(ledger.close())


async def _made(kind: Any, settings: Settings) -> Any:
    return kind(settings)


def test_a_whole_job_in_a_message_of_another_producer(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    app = make_app(settings)
    app.send_task("tasks.transcribe", kwargs={"job": {"source": str(audio("ok-2.wav"))}}, queue=settings.queue)
    app.send_task(
        "tasks.transcribe", kwargs={"job_id": "their.own-id", "job": {"source": "/gone/ok-1.wav"}}, queue=settings.queue
    )
    for bad in ({"job": {"sauce": "x"}}, {"job": {"source": "x", "formats": ["doc"]}}, {"job_id": "nobody"}, {}):
        app.send_task("tasks.transcribe", kwargs=bad, queue=settings.queue)
    workers.start()
    expected = submit(audio("ok-2.wav"), settings=settings)
    assert until_ended(expected).state is JobState.DONE
    wait_until(
        lambda: raw.hget("stt:job:their.own-id", "state") == "done", "the job with their id is done", timeout_s=60
    )
    wait_until(
        lambda: queued(raw) == 0 and raw.hlen("stt:celery:unacked") == 0, "bad messages are acknowledged", timeout_s=60
    )
    assert len(list(raw.scan_iter("stt:job:*"))) == 6  # two jobs with their commits and transcripts, no others


@pytest.mark.chaos
def test_400_jobs_that_end_at_once_are_all_acknowledged(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    batch = submit_many([audio(f"gate-{n}.wav") for n in range(400)], settings=settings)
    workers.start(STT_WORKER_SESSIONS="400")
    wait_until(lambda: batch.status().counts == {JobState.RUNNING: 400}, "all jobs run", timeout_s=60, poll_s=0.2)
    audio("open")
    wait_until(lambda: batch.status().counts == {JobState.DONE: 400}, "all jobs end", timeout_s=60, poll_s=0.2)
    wait_until(
        lambda: queued(raw) == 0 and raw.hlen("stt:celery:unacked") == 0, "every message is acknowledged", timeout_s=60
    )
    assert raw.zcard("stt:celery:unacked_index") == 0
    assert {job.attempts for job in batch.status().jobs} == {1}


def test_another_pool_is_refused(workers: StandInWorkers) -> None:
    process = workers.start("celery", "-A", "tasks", "worker", "--pool", "solo")
    assert process.wait(60) != 0
    text = workers.text()
    assert "runs on the pool `threads` only" in text
    assert "Traceback" not in text


def test_celery_finds_the_application_with_its_settings(workers: StandInWorkers) -> None:
    process = workers.start("celery", "-A", "tasks", "worker", "--loglevel", "INFO", STT_WORKER_SESSIONS="7")
    wait_until(lambda: "worker ready" in workers.text(), "the worker is ready", timeout_s=60)
    text = workers.text()
    assert "concurrency: 7 (thread)" in text
    assert "exchange=stt(direct)" in text
    assert "tasks.transcribe" in text
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def test_submit_reports_invalid_arguments(settings: Settings, audio: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="idempotency_key"):
        submit(tmp_path / "none.wav", settings=settings)
    with pytest.raises(BadJob, match="doc"):
        submit(audio("ok-1.wav"), settings=settings, formats=("doc",))
    with pytest.raises(BadJob, match="letters"):
        submit(audio("ok-1.wav"), settings=settings, idempotency_key="a b")
    assert submit(tmp_path / "none.wav", settings=settings, idempotency_key="a.b").id == "a.b"
    nowhere = load({}, redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(LedgerUnavailable, match="STT_REDIS_URL"):
        submit(audio("ok-1.wav"), settings=nowhere)
