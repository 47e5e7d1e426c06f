"""Faults of other parts: an emptied or suspended broker, a hanging service, a blocked worker."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tasks.client.handles import submit, submit_many
from tasks.observability.log_dedup import MAX_EQUAL_LINES
from tests.support.fleet import Fleet, limit_of, tone_server
from tests.support.redis_server import Valkey
from tests.support.wait import wait_until

PACE = 4.0


@pytest.mark.chaos
@pytest.mark.timeout(240)
def test_6_a_redis_that_is_suspended_for_75_seconds(tmp_path: Path, service: str) -> None:
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = Valkey(folder)
    fleet = Fleet(tmp_path, valkey.url, service)
    try:
        files = [fleet.audio(f"s{n}", 20, seed=n) for n in range(3)]
        workers = [fleet.start(), fleet.start()]
        ids = [j.id for j in submit_many([path for path, _ in files], settings=fleet.settings, speed=1.0).jobs]
        wait_until(lambda: all(fleet.record(i).commits for i in ids), "commits", timeout_s=30)
        valkey.signal(signal.SIGSTOP)
        time.sleep(75)  # the fault itself
        valkey.signal(signal.SIGCONT)
        fleet.until_ended(*ids, timeout_s=90)
        for job_id, (_, words) in zip(ids, files, strict=True):
            fleet.assert_done(job_id, words)
        assert [worker.process.poll() for worker in workers] == [None, None]
    finally:
        fleet.close()
        valkey.stop()


def test_workers_survive_a_redis_that_refuses_writes_for_some_time(fleet: Fleet) -> None:
    """Redis refuses writes when its disk is full, or after it has become a replica. Reads still work."""
    path, words = fleet.audio("refused", 12)
    worker = fleet.start()
    job = submit(path, settings=fleet.settings, speed=2.0)
    wait_until(lambda: fleet.record(job.id).commits, "a commit")
    with fleet.raw as raw:
        raw.config_set("min-replicas-to-write", 1)
        try:
            wait_until(
                lambda: "no messages are received" in worker.text() or worker.process.poll() is not None,
                "it is noticed",
            )
            refused = raw.info("errorstats")["errorstat_NOREPLICAS"]["count"]
            wait_until(
                lambda: raw.info("errorstats")["errorstat_NOREPLICAS"]["count"] > refused + 20,
                "it tries again and again",
            )
        finally:
            raw.config_set("min-replicas-to-write", 0)
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)
    assert worker.process.poll() is None
    assert worker.text().count("no messages are received") <= MAX_EQUAL_LINES, "what is said again and again is counted"


def test_7_a_broker_that_lost_everything_is_filled_again_from_the_ledger(fleet: Fleet) -> None:
    files = [fleet.audio(f"b{n}", 8, seed=n) for n in range(6)]
    fleet.start(sessions=2)
    ids = [j.id for j in submit_many([path for path, _ in files], settings=fleet.settings, speed=PACE).jobs]
    wait_until(lambda: any(fleet.record(i).commits for i in ids), "the first commits", timeout_s=60)
    with fleet.raw as raw:
        lost = [key for key in raw.scan_iter("*") if key.startswith("stt:celery:")]
        assert lost
        raw.delete(*lost)
    fleet.until_ended(*ids, timeout_s=90)
    for job_id, (_, words) in zip(ids, files, strict=True):
        fleet.assert_done(job_id, words)


def test_11_invalid_intake_entries_affect_no_other_job(fleet: Fleet) -> None:
    source, words = fleet.audio("good", 5)
    fleet.start()
    bad = ['{"sources": "x"}', "not json", "[]", '{"source": ""}', '{"source": 7}', "\x00" * 100, '{"source":' * 2000]
    with fleet.raw as raw:
        for text in bad:
            raw.xadd("stt:intake", {"job": text})
        raw.xadd("stt:intake", {"nothing": "here"})
        entry = raw.xadd("stt:intake", {"job": json.dumps({"source": str(source), "speed": "max"})})

        def replies() -> dict[str, dict[str, str]]:
            return {fields["request"]: fields for _, fields in raw.xrange("stt:intake:replies")}

        wait_until(lambda: entry in replies(), "the good one is answered", timeout_s=60)
        job_id = replies()[entry]["job"]
        wait_until(lambda: len(replies()) == len(bad) + 2, "all are answered", timeout_s=60)
        refused = [fields for fields in replies().values() if "job" not in fields]
        assert len(refused) == len(bad) + 1
        assert all(fields["reason"] for fields in refused)
        assert raw.xlen("stt:intake:refused") == len(bad) + 1
    fleet.until_ended(job_id)
    fleet.assert_done(job_id, words)
    assert fleet.workers[0].process.poll() is None


@pytest.mark.chaos
@pytest.mark.timeout(240)
def test_12_four_hundred_jobs_that_end_at_once(fleet: Fleet) -> None:
    files = [fleet.audio(f"m{n}", 3, seed=n) for n in range(400)]
    fleet.start(sessions=400)
    ids = [j.id for j in submit_many([path for path, _ in files], settings=fleet.settings, speed=1.0).jobs]
    fleet.until_ended(*ids, timeout_s=180)
    fleet.until_acknowledged()
    for job_id, (_, words) in zip(ids, files, strict=True):
        fleet.assert_done(job_id, words)


@limit_of(15.0)
def test_15_a_session_of_a_hanging_service_times_out(tmp_path: Path, redis_url: str, limit_s: float) -> None:
    with tone_server(tmp_path, "mute=3:1") as url:
        fleet = Fleet(tmp_path, redis_url, url, {"STT_STALL_TIMEOUT_S": "2"})
        try:
            source, words = fleet.audio("h", 10)
            fleet.start()
            started = time.monotonic()
            job = submit(source, settings=fleet.settings, speed=PACE)
            fleet.until_ended(job.id)
            assert time.monotonic() - started < limit_s
            transcript = fleet.assert_done(job.id, words)
            assert [s.ended for s in transcript.sessions] == ["stalled", "completed"]
        finally:
            fleet.close()


def test_16_a_worker_whose_loop_is_stuck_loses_its_jobs_to_others(fleet: Fleet) -> None:
    source, words = fleet.audio("l", 16)
    stuck = fleet.start(module="tests.support.blocked_worker", BLOCKS_ONCE=str(fleet.folder / "blocked"), BLOCKS_S="60")
    job = submit(source, settings=fleet.settings, speed=PACE)
    wait_until((fleet.folder / "blocked").exists, "the loop is stuck", timeout_s=60)
    other = fleet.start()
    wait_until(lambda: str(other.pid) in fleet.record(job.id).owner, "the other has the job", timeout_s=60)
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)
    assert stuck.process.poll() is None


def test_a_worker_that_was_suspended_for_longer_than_the_service_waits(tmp_path: Path, redis_url: str) -> None:
    """The worker's lease has not expired, but the service has closed its session as idle. The same attempt continues in
    another session."""
    with tone_server(tmp_path, STT_SERVER_IDLE_TIMEOUT_S="1") as url:
        fleet = Fleet(tmp_path, redis_url, url, {"STT_LEASE_S": "30"})
        try:
            source, words = fleet.audio("i", 16)
            worker = fleet.start()
            job = submit(source, settings=fleet.settings, speed=PACE)
            wait_until(lambda: fleet.record(job.id).commits > 0, "the job has commits", timeout_s=60)
            worker.signal(signal.SIGSTOP)
            time.sleep(2.5)  # the fault itself
            worker.signal(signal.SIGCONT)
            fleet.until_ended(job.id)
            transcript = fleet.assert_done(job.id, words)
            assert [(s.ended, s.close_code) for s in transcript.sessions] == [("closed", 1000), ("completed", 1000)]
            assert "idle" in transcript.failures[0]
            assert fleet.record(job.id).attempts == 1
        finally:
            fleet.close()
