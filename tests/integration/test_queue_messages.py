"""Malformed messages to real workers: no worker ends, valid jobs finish, and each refused message is in the dead
letters with its reason. All kinds of malformed messages are tested in tests/unit/tasks/test_message_validation.py."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from click.testing import CliRunner

from tasks.app import make_app
from tasks.broker.message_validation import MessageRefused, rebuilt
from tasks.cli import main
from tasks.client import celery_message
from tasks.client.handles import submit
from tests.support.mutations import mutations
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import allowed_s, wait_until
from tests.unit.tasks.test_message_validation import WRONG
from worker.ledger.dead_letters import MAX_DEAD_LETTERS
from worker.ledger.keys import Keys
from worker.settings import Settings, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url, lease_s=4, lease_renew_s=1, reap_interval_s=0.5)


@pytest.fixture
def audio(tmp_path: Path) -> Callable[[str], str]:
    def make(name: str) -> str:
        path = tmp_path / name
        path.write_bytes(name.encode())
        return str(path)

    return make


@pytest.fixture
def binary(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as client:
        yield client


def until_quiet(raw: redis.Redis, timeout_s: float = 60) -> None:
    def quiet() -> bool:
        return (
            sum(int(raw.llen(name)) for name in Keys("stt:").queue_lists("stt")) == 0
            and raw.hlen("stt:celery:unacked") == 0
        )

    wait_until(quiet, "every message is taken and acknowledged", timeout_s=timeout_s)


def dead_letters(raw: redis.Redis) -> list[dict[str, str]]:
    return [fields for _, fields in raw.xrange("stt:dead-letters")]


def restarts(workers: StandInWorkers) -> int:
    return workers.text().count("Connection to broker lost")


def refused(raw: bytes) -> bool:
    try:
        rebuilt(raw, "stt")
    except MessageRefused:
        return True
    return False


def test_no_malformed_message_ends_a_worker(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, binary: redis.Redis, audio: Any
) -> None:
    worker = workers.start()
    first = submit(audio("slow-40.wav"), settings=settings)
    wait_until(lambda: first.status().commits > 1, "a job runs", timeout_s=60)
    for message in WRONG.values():
        binary.lpush("stt:celery:stt", message)
    honest = [submit(audio(f"ok-{n}.wav"), settings=settings) for n in range(1, 6)]
    wait_until(lambda: all(job.status().state == "done" for job in [first, *honest]), "the jobs end", timeout_s=60)
    until_quiet(raw)
    assert worker.poll() is None
    assert first.status().attempts == 1, "the running job was not requeued"
    letters = dead_letters(raw)
    assert len(letters) == len(WRONG)
    assert all(letter["reason"] and letter["queue"] == "stt" for letter in letters)
    text = workers.text()
    assert "Traceback" not in text
    assert restarts(workers) == 0
    assert text.count("message refused") >= 40
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0


def fuzz(count: int, seed: int, workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any) -> None:
    worker = workers.start()
    handle = submit(audio("ok-1.wav"), settings=settings)
    wait_until(lambda: handle.status().state == "done", "the first job ends", timeout_s=60)
    wrong = 0
    honest = []
    with redis.Redis.from_url(settings.redis_url) as binary:
        for number, message in enumerate(mutations(count, seed, "no-such-job")):
            wrong += refused(message)
            binary.lpush("stt:celery:stt", message)
            if number % (count // 20) == 0:
                honest.append(submit(audio(f"ok-{number + 2}.wav"), settings=settings))
            if number % 500 == 499:
                until_quiet(raw, timeout_s=120)
    wait_until(lambda: all(job.status().state == "done" for job in honest), "the jobs end", timeout_s=60)
    until_quiet(raw)
    assert worker.poll() is None
    assert psutil.Process(worker.pid).is_running()
    letters = dead_letters(raw)
    assert len(letters) == wrong <= MAX_DEAD_LETTERS
    assert wrong > count / 3
    assert all(letter["reason"] for letter in letters)
    assert restarts(workers) == 0
    assert "Traceback" not in workers.text()


def test_two_hundred_mutations(workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any) -> None:
    fuzz(200, 1, workers, settings, raw, audio)


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_ten_thousand_mutations(workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any) -> None:
    fuzz(10_000, 2, workers, settings, raw, audio)


def test_a_message_that_cannot_be_restored_does_not_circulate(settings: Settings, raw: redis.Redis) -> None:
    """Redis has an unacknowledged message of an older version or of another program."""
    wrong = ("{", "7", "[]", '["x", "", "stt"]', "[{}, {}, {}]", '[{"headers": []}, "", "stt"]', '[[], "", "stt"]')
    for number, entry in enumerate([*wrong, json.dumps([json.loads(celery_message.message("a", "stt")), "", "stt"])]):
        raw.hset("stt:celery:unacked", f"tag-{number}", entry)
        raw.zadd("stt:celery:unacked_index", {f"tag-{number}": 1})
    with make_app(settings).connection() as connection:
        connection.default_channel.qos.restore_visible(num=None, interval=1)
    assert (raw.hlen("stt:celery:unacked"), raw.zcard("stt:celery:unacked_index")) == (0, 0)
    assert len(dead_letters(raw)) + raw.llen("stt:celery:stt") >= 1 + 4
    restored = [message.encode() for message in raw.lrange("stt:celery:stt", 0, -1)]
    assert sum(not refused(message) for message in restored) == 1, "the message in order is in the queue again"
    raw.delete("stt:celery:stt")


def test_the_natural_forms_of_send_task(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    workers.start()
    app = make_app(settings)
    app.send_task("tasks.transcribe", args=[{"source": audio("ok-2.wav")}], queue="stt")
    wrong = ["ID:commits", "a b", "x" * 129, "../a"] * 50
    with app.producer_or_acquire() as producer:
        for name in wrong:
            app.send_task("tasks.transcribe", kwargs={"job_id": name}, queue="stt", producer=producer)
    handle = submit(audio("ok-2.wav"), settings=settings)
    wait_until(lambda: handle.status().state == "done", "the job ends", timeout_s=60)
    until_quiet(raw)
    letters = dead_letters(raw)
    assert len(letters) == len(wrong), "each is refused once and does not circulate"
    assert all("job_id" in letter["reason"] for letter in letters)
    assert "ID:commits" in workers.text()
    assert "unreachable" not in workers.text(), "a refusal is no outage"


def test_a_job_key_of_another_type_does_not_stop_other_jobs(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    """Another program wrote to our keys: ids without records in the queue and leases, and job keys of another type."""
    for name, key in (("front", "queue"), ("leased", "leases"), ("later", "delayed")):
        raw.set(f"stt:job:{name}", "no hash", ex=1000)
        raw.zadd(f"stt:{key}", {name: 0})
        raw.expire(f"stt:{key}", 1000)
    raw.hset("stt:job:broken", mapping={"state": "running", "epoch": "x", "tries": "y", "spec": "{"})
    raw.expire("stt:job:broken", 1000)
    raw.zadd("stt:leases", {"broken": 0})
    raw.zadd("stt:jobs", {"front": 2, "broken": 1})
    raw.expire("stt:jobs", 1000)
    workers.start()
    app = make_app(settings)
    for name in ("front", "leased", "broken"):
        app.send_task("tasks.transcribe", args=[name], queue="stt")
    handle = submit(audio("ok-3.wav"), settings=settings)
    wait_until(lambda: handle.status().state == "done", "the job ends", timeout_s=60)
    wait_until(
        lambda: not any(raw.zcard(f"stt:{key}") for key in ("queue", "leases", "delayed")), "the lines are empty"
    )
    until_quiet(raw)
    for command in (["status"], ["list"], ["status", handle.id]):
        ran = CliRunner().invoke(main, command, env={"STT_REDIS_URL": settings.redis_url})
        assert ran.exit_code == 0, ran.output
    text = workers.text()
    assert "Traceback" not in text
    assert "Redis is unreachable, the job" not in text


def test_sigterm_ends_a_worker_that_hashes_many_gigabytes(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, tmp_path: Path
) -> None:
    huge = tmp_path / "huge.wav"
    with huge.open("wb") as file:
        file.truncate(40 << 30)
    worker = workers.start()
    make_app(settings).send_task("tasks.transcribe", args=[{"source": str(huge)}], queue="stt")
    raw.xadd("stt:intake", {"job": json.dumps({"source": str(huge)})})
    wait_until(lambda: raw.hlen("stt:celery:unacked") == 1, "the message is taken", timeout_s=60)
    wait_until(lambda: sum(group["pending"] for group in raw.xinfo_groups("stt:intake")) == 1, "both run")
    started = time.monotonic()
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert time.monotonic() - started < allowed_s(25)
    assert raw.llen("stt:celery:stt") == 1, "the message is in the queue again"


def test_a_queue_key_of_another_type_is_reported_and_can_be_repaired_without_a_restart(
    workers: StandInWorkers, settings: Settings, raw: redis.Redis, audio: Any
) -> None:
    raw.set("stt:celery:stt", "no list")
    worker = workers.start()
    wait_until(lambda: "Redis refuses to read the queue (STT_QUEUE)" in workers.text(), "it is named", timeout_s=60)
    time.sleep(3)
    assert workers.text().count("refuses to read the queue") <= 5, "it does not spin"
    raw.delete("stt:celery:stt")
    handle = submit(audio("ok-1.wav"), settings=settings)
    wait_until(lambda: handle.status().state == "done", "the job ends", timeout_s=60)
    assert worker.poll() is None
    assert restarts(workers) == 0


def test_remote_control_is_off_unless_asked_for(workers: StandInWorkers, settings: Settings) -> None:
    app = make_app(settings)
    workers.start()
    wait_until(lambda: "worker ready" in workers.text(), "the worker is up", timeout_s=60)
    assert app.control.ping(timeout=1.0) == []
    workers.start(STT_CELERY_REMOTE_CONTROL="1")
    wait_until(lambda: workers.text().count("worker ready") == 2, "the second one is up", timeout_s=30)
    # A worker listens for remote control a moment after it is ready.
    answer = wait_until(lambda: app.control.ping(timeout=2.0), "the worker answers", timeout_s=60)
    assert [list(one) for one in answer] == [["w1@test"]]


def test_a_fatal_error_ends_the_worker_with_a_status(workers: StandInWorkers) -> None:
    worker = workers.start("tests.support.fatal_worker", STT_LOG_LEVEL="info")
    assert worker.wait(60) not in (0, None)
    assert "a bug that ends the consumer" in workers.text()


def test_dead_letters_are_bounded_and_shown(settings: Settings, raw: redis.Redis) -> None:
    from tasks.doctor.redis import of_dead_letters, of_streams
    from worker.ledger.dead_letters import DeadLetterSummary, dead_letter, write

    for number in range(3):
        pipeline = raw.pipeline()
        write(pipeline, "stt:dead-letters", dead_letter(b"\xff\0" * 5000, "stt", f"reason {number}"), 100)
        pipeline.execute()
    letters = dead_letters(raw)
    assert len(letters) == 3
    assert all(len(letter["message"]) <= 1024 and letter["message"].isprintable() for letter in letters)
    assert 0 < raw.ttl("stt:dead-letters") <= 100
    assert of_dead_letters(DeadLetterSummary(0, ""), "stt:") == []
    (finding,) = of_dead_letters(DeadLetterSummary(3, "reason 2"), "stt:")
    exhausted = {"stt:intake": "1760000000000-0", "stt:intake:from:evil": "18446744073709551615-18446744073709551615"}
    assert ["evil" in found.text for found in of_streams(exhausted, 1_760_000_000)] == [True]
    assert "3 messages were refused; the last one: reason 2" in finding.text
    assert json.loads(json.dumps(finding.remedy))
