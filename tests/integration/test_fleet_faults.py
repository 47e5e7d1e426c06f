"""Workers that are killed, suspended, disconnected or terminated: the transcript has each word exactly once.

The numbers in the names of the tests are those of the list of faults in the design.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tasks.client.control import cancel, pause, resume, retry
from tasks.client.handles import submit, submit_many
from tests.support.audiofiles import write_words
from tests.support.fleet import RATE, RESUME_S, Fleet, assert_every_key_ends, limit_of, open_sessions
from tests.support.redis_server import Valkey
from tests.support.tones import ToneWord, speech
from tests.support.wait import wait_until
from worker.ledger.records import JobState

PACE = 4.0
"""Fast enough for a test, slow enough to be hit in the middle."""
PATIENT = {"STT_CONNECT_TIMEOUT_S": "60", "STT_START_TIMEOUT_S": "60"}
"""For many sessions at once on a busy machine."""


def until_committed(fleet: Fleet, *job_ids: str, timeout_s: float = 60) -> None:
    wait_until(
        lambda: all(fleet.record(i).commits > 0 for i in job_ids),
        "the jobs have commits",
        timeout_s=timeout_s,
        poll_s=0.05,
    )


@limit_of(RESUME_S)
def test_1_another_worker_continues_the_job_of_a_killed_one(fleet: Fleet, limit_s: float) -> None:
    source, words = fleet.audio("a", 20)
    fleet.start()
    fleet.start()
    job = submit(source, settings=fleet.settings, speed=PACE)
    until_committed(fleet, job.id)
    fleet.owner(job.id).kill()
    killed, before = time.monotonic(), fleet.record(job.id)
    assert before.state is JobState.RUNNING
    wait_until(lambda: fleet.record(job.id).epoch >= before.epoch + 2, "another worker has it", timeout_s=60)
    assert time.monotonic() - killed <= limit_s
    fleet.until_ended(job.id)
    transcript = fleet.assert_done(job.id, words)
    assert transcript.sessions[0].start > 0  # not from the beginning
    assert fleet.record(job.id).attempts == 2


def test_2_a_lost_broker_connection_starts_no_second_session(fleet: Fleet) -> None:
    source, words = fleet.audio("a", 20)
    workers = [fleet.start(), fleet.start()]
    job = submit(source, settings=fleet.settings, speed=PACE)
    until_committed(fleet, job.id)
    with fleet.raw as raw:
        raw.client_kill_filter(_type="normal", skipme=True)
    fleet.until_ended(job.id)
    transcript = fleet.assert_done(job.id, words)
    assert len(transcript.sessions) == 1
    assert fleet.record(job.id).attempts == 1
    assert sum(worker.text().count("job started") for worker in workers) == 1
    fleet.until_acknowledged()


def test_4_a_worker_that_was_stopped_for_longer_than_its_lease_cannot_write(fleet: Fleet) -> None:
    source, words = fleet.audio("a", 30)
    fleet.start()
    fleet.start()
    job = submit(source, settings=fleet.settings, speed=PACE)
    until_committed(fleet, job.id)
    zombie, before = fleet.owner(job.id), fleet.record(job.id)
    zombie.signal(signal.SIGSTOP)
    wait_until(lambda: fleet.record(job.id).epoch >= before.epoch + 2, "another worker has it", timeout_s=60)
    zombie.signal(signal.SIGCONT)
    # If the signal stopped it during a request, the time limit of this request passed meanwhile.
    found_out = ("lease lost", "the job is requeued when Redis answers")
    wait_until(lambda: any(text in zombie.text() for text in found_out), "the zombie finds out", timeout_s=25)
    wait_until(
        lambda: zombie.connections_to(fleet.url) == 0, f"its session is closed: {zombie.text()[-1500:]}", timeout_s=25
    )
    assert fleet.owner(job.id) is not zombie
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)


def test_5_a_restart_of_redis_ends_no_worker(tmp_path: Path, service: str) -> None:
    folder = tmp_path / "valkey"
    folder.mkdir()
    valkey = Valkey(folder)
    fleet = Fleet(tmp_path, valkey.url, service)
    try:
        files = [fleet.audio(f"r{n}", 20, seed=n) for n in range(4)]
        workers = [fleet.start(), fleet.start()]
        batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=PACE)
        ids = [job.id for job in batch.jobs]
        until_committed(fleet, *ids)
        valkey.kill()
        valkey.start()
        fleet.until_ended(*ids, timeout_s=60)
        for job_id, (_, words) in zip(ids, files, strict=True):
            fleet.assert_done(job_id, words)
        assert [worker.process.poll() for worker in workers] == [None, None]
        # The workers receive messages again.
        source, words = fleet.audio("after", 4, seed=9)
        after = submit(source, settings=fleet.settings, speed="max")
        fleet.until_ended(after.id)
        fleet.assert_done(after.id, words)
        assert_every_key_ends(valkey.url)
    finally:
        fleet.close()
        valkey.stop()


def test_8_a_new_message_replaces_a_lost_one(fleet: Fleet) -> None:
    source, words = fleet.audio("a")
    job = submit(source, settings=fleet.settings, speed="max")
    assert fleet.queued_messages() == 1
    fleet.lose_messages()
    fleet.start()
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)


def test_9_a_job_enqueued_five_times_runs_once(fleet: Fleet) -> None:
    source, words = fleet.audio("a")
    jobs = [submit(source, settings=fleet.settings, speed=PACE) for _ in range(5)]
    assert len({job.id for job in jobs}) == 1
    assert fleet.queued_messages() == 5
    workers = [fleet.start(), fleet.start()]
    fleet.until_ended(jobs[0].id)
    fleet.until_acknowledged()
    assert len(fleet.assert_done(jobs[0].id, words).sessions) == 1
    assert sum(worker.text().count("job started") for worker in workers) == 1


def test_10_a_kill_between_the_last_commit_and_the_end(fleet: Fleet) -> None:
    source, words = fleet.audio("a")
    out = fleet.folder / "out"
    mark = fleet.folder / "died"
    job = submit(source, settings=fleet.settings, speed="max", out_dir=out)
    dying = fleet.start(module="tests.support.dying_worker", DIES_ONCE=str(mark))
    assert dying.process.wait(60) == -signal.SIGKILL
    assert fleet.record(job.id).state is JobState.RUNNING
    fleet.start()
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)
    assert [path.name for path in out.iterdir()] == ["a.json"]


@limit_of(2.0)
def test_14_a_cancelled_job_stops_within_two_seconds(fleet: Fleet, limit_s: float) -> None:
    source, words = fleet.audio("a", 30)
    worker = fleet.start()
    job = submit(source, settings=fleet.settings, speed=1.0)
    until_committed(fleet, job.id)
    assert worker.connections_to(fleet.url) == 1
    assert cancel(job.id, settings=fleet.settings) == [job.id]
    asked = time.monotonic()
    wait_until(lambda: worker.connections_to(fleet.url) == 0, "the session is closed", timeout_s=30, poll_s=0.05)
    assert time.monotonic() - asked < limit_s
    fleet.until_acknowledged()
    record = fleet.record(job.id)
    assert record.state is JobState.CANCELLED
    assert record.commits > 0
    kept = fleet.committed(job.id)
    assert kept == [word.text for word in words][: len(kept)]
    assert cancel(job.id, settings=fleet.settings) == []

    assert retry(job.id, settings=fleet.settings) == [job.id]
    wait_until(lambda: len(fleet.committed(job.id)) > len(kept), "it goes on", timeout_s=60)
    assert fleet.committed(job.id)[: len(kept)] == kept
    cancel(job.id, settings=fleet.settings)


@limit_of(5.0)
@pytest.mark.parametrize("count", [50, pytest.param(200, marks=pytest.mark.chaos)])
@pytest.mark.timeout(400)
def test_3_sigterm_with_many_jobs_in_flight(fleet: Fleet, count: int, limit_s: float) -> None:
    """Audio is sent at a tenth of real time, so that no session ends before all sessions are open, even on a slow
    machine. The first word of a recording is followed by a pause, so that it is committed early."""
    said = {n: [ToneWord(n, 0.2), *speech(12, seed=n, lead_s=2.0)] for n in range(count)}
    files = [write_words(fleet.folder / f"many{n}.wav", words, RATE) for n, words in said.items()]
    worker = fleet.start(sessions=count, STT_SPEED="0.1", STT_LEASE_S="30", STT_LEASE_RENEW_S="5", **PATIENT)
    batch = submit_many(files, settings=fleet.settings)
    wait_until(lambda: open_sessions(fleet.url) == count, "all sessions are open", timeout_s=110, poll_s=0.5)
    wait_until(lambda: any(job.commits for job in batch.status().jobs), "a commit", timeout_s=60, poll_s=0.5)
    assert worker.connections_to(fleet.url) == count
    before = {job.id: job.commits for job in batch.status().jobs}
    assert batch.status().counts == {JobState.RUNNING: count}
    assert worker.end() < limit_s
    held = batch.status()
    assert held.counts == {JobState.QUEUED: count}
    assert [(job.id, job.attempts, job.trouble) for job in held.jobs if job.attempts] == []
    assert all(job.commits >= before[job.id] for job in held.jobs)
    assert sum(before.values()) > 0
    assert fleet.queued_messages() >= count  # a double does no harm
    with fleet.raw as raw:
        assert raw.hlen("stt:celery:unacked") == 0

    fleet.start(sessions=8, STT_SPEED="max")
    words_of = dict(zip((job.id for job in batch.jobs), said.values(), strict=True))

    def ended() -> list[str]:
        return [job.id for job in batch.status().jobs if job.state.ended]

    wait_until(lambda: len(ended()) >= 20, "another worker does the first 20", timeout_s=120, poll_s=0.5)
    for job_id in ended():
        fleet.assert_done(job_id, words_of[job_id])


@limit_of(2.0)
def test_a_paused_batch_waits_and_continues(fleet: Fleet, limit_s: float) -> None:
    files = [fleet.audio(f"p{n}", 12, seed=n) for n in range(3)]
    worker = fleet.start(sessions=2)
    batch = submit_many([path for path, _ in files], batch="slow", settings=fleet.settings, speed=PACE)
    ids = [job.id for job in batch.jobs]
    wait_until(lambda: sum(fleet.record(i).commits > 0 for i in ids) == 2, "two jobs run", timeout_s=60)
    assert sorted(pause("slow", settings=fleet.settings)) == sorted(ids)
    wait_until(lambda: worker.connections_to(fleet.url) == 0, "no session is open", timeout_s=limit_s)
    fleet.until_acknowledged()
    held = [fleet.record(i) for i in ids]
    assert all(one.state is JobState.QUEUED and one.paused and one.attempts == 0 for one in held)
    assert sorted(resume("slow", settings=fleet.settings)) == sorted(ids)
    fleet.until_ended(*ids)
    for job_id, (_, words) in zip(ids, files, strict=True):
        fleet.assert_done(job_id, words)


@limit_of(5.0)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_loses_nothing(fleet: Fleet, number: signal.Signals, limit_s: float) -> None:
    files = [fleet.audio(f"s{n}", 12, seed=n) for n in range(4)]
    worker = fleet.start()
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=PACE)
    ids = [job.id for job in batch.jobs]
    until_committed(fleet, *ids)
    for _ in range(2):
        worker.signal(number)
    started = time.monotonic()
    worker.process.wait(60)
    assert time.monotonic() - started < limit_s
    fleet.start()
    fleet.until_ended(*ids)
    for job_id, (_, words) in zip(ids, files, strict=True):
        transcript = fleet.assert_done(job_id, words)
        assert transcript.sessions[0].start > 0
