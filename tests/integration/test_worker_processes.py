"""`stt-batch worker --processes 2`: one command, one health file, one page of metrics; dead processes are replaced."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from tasks.app import make_app
from tasks.cli.health import problem
from tasks.client.handles import submit_many
from tests.support.fleet import Fleet, Worker
from tests.support.ports import free_port
from tests.support.wait import wait_until


def launch(fleet: Fleet, *arguments: str, **settings: str) -> Worker:
    return fleet.launch(sessions=2, arguments=("--processes", "2", *arguments), **settings)


def until_ready(worker: Worker, health: Path) -> None:
    wait_until(
        lambda: problem(str(health), ready=True) is None or worker.process.poll() is not None,
        "all processes are ready",
        timeout_s=120,
    )
    assert worker.process.poll() is None, worker.text()


def until_ended_without_ready(worker: Worker, health: Path) -> None:
    """Wait until the worker is not ready, and until it ends. Fails if it is ready again meanwhile."""
    wait_until(lambda: problem(str(health), ready=True), "the worker is not ready", timeout_s=30, poll_s=0.01)
    while worker.process.poll() is None:
        assert problem(str(health), ready=True) is not None, "ready again"
        time.sleep(0.01)
    assert worker.process.wait(60) == 0, worker.text()


def children(worker: Worker) -> list[psutil.Process]:
    return psutil.Process(worker.pid).children()


def page(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_a_killed_process_is_replaced_and_its_jobs_continue(fleet: Fleet, tmp_path: Path) -> None:
    health, port = tmp_path / "health", free_port()
    worker = launch(fleet, STT_HEALTH_FILE=str(health), STT_METRICS_PORT=str(port), STT_LOG_FORMAT="json")
    until_ready(worker, health)
    before = children(worker)
    assert len(before) == 2
    files = [fleet.audio(f"p{n}", 20, seed=n) for n in range(4)]
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=4.0)
    ids = [job.id for job in batch.jobs]
    wait_until(lambda: all(fleet.record(job_id).commits > 0 for job_id in ids), "four jobs run", timeout_s=60)
    owners = {int(fleet.record(job_id).owner.split(":")[1]) for job_id in ids}
    assert owners == {process.pid for process in before}, "both processes run jobs"
    wait_until(lambda: page(port)["stt_worker_jobs_running"] == 4, "one page counts all jobs", timeout_s=30)

    before[0].kill()
    wait_until(lambda: problem(str(health), ready=True), "the worker is not ready", timeout_s=30)
    assert problem(str(health)) is None, "but alive"
    fleet.until_ended(*ids)
    for job_id, (_, words) in zip(ids, files, strict=True):
        fleet.assert_done(job_id, words)
    until_ready(worker, health)
    after = {process.pid for process in children(worker)}
    assert len(after) == 2
    assert before[1].pid in after
    assert before[0].pid not in after

    text = fleet.workers[0].text()
    assert {json.loads(line).get("process") for line in text.splitlines()} >= {1, 2}
    worker.signal(signal.SIGTERM)
    until_ended_without_ready(worker, health)
    assert not health.exists()
    assert not [pid for pid in after if psutil.pid_exists(pid)]


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.chaos), signal.SIGKILL])
def test_no_process_outlives_the_command(fleet: Fleet, tmp_path: Path, number: signal.Signals) -> None:
    health = tmp_path / "health"
    worker = launch(fleet, STT_HEALTH_FILE=str(health))
    until_ready(worker, health)
    files = [fleet.audio(f"s{n}", 30, seed=n) for n in range(4)]
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=2.0)
    ids = [job.id for job in batch.jobs]
    wait_until(lambda: all(fleet.record(job_id).commits > 0 for job_id in ids), "four jobs run", timeout_s=60)
    left = children(worker)
    worker.signal(number)
    worker.signal(signal.SIGHUP)
    worker.process.wait(60)
    gone, alive = psutil.wait_procs(left, timeout=30)
    assert not alive
    assert len(gone) == 2
    records = [fleet.record(job_id) for job_id in ids]
    assert all(record.state == "queued" and record.attempts == 0 and record.commits > 0 for record in records)


@pytest.mark.chaos
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, "shutdown"], ids=str)
def test_the_whole_worker_is_not_ready_from_the_first_signal_on(
    fleet: Fleet, tmp_path: Path, way: signal.Signals | str
) -> None:
    health = tmp_path / "health"
    worker = launch(fleet, STT_HEALTH_FILE=str(health), STT_CELERY_REMOTE_CONTROL="1")
    until_ready(worker, health)
    files = [fleet.audio(f"e{n}", 30, seed=n) for n in range(4)]
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=2.0)
    ids = [job.id for job in batch.jobs]
    wait_until(lambda: all(fleet.record(job_id).commits > 0 for job_id in ids), "four jobs run", timeout_s=60)
    if isinstance(way, str):
        with make_app(fleet.settings) as app:
            app.control.shutdown()
    else:
        worker.signal(way)
    until_ended_without_ready(worker, health)
    assert all(fleet.record(job_id).state == "queued" and fleet.record(job_id).attempts == 0 for job_id in ids)


def test_a_process_that_cannot_start_ends_the_command_with_its_reason(fleet: Fleet) -> None:
    worker = launch(fleet, STT_WEBHOOK_SECRET="short")
    started = time.monotonic()
    assert worker.process.wait(100) != 0
    assert time.monotonic() - started < 100
    assert "STT_WEBHOOK_SECRET" in worker.text()
    assert "Traceback" not in worker.text()


@pytest.mark.chaos
def test_a_process_that_hangs_is_replaced(fleet: Fleet, tmp_path: Path) -> None:
    health = tmp_path / "health"
    worker = launch(fleet, STT_HEALTH_FILE=str(health))
    until_ready(worker, health)
    hung = children(worker)[0]
    hung.suspend()
    wait_until(lambda: "process is stuck" in worker.text(), "the supervisor sees it", timeout_s=90)
    wait_until(
        lambda: len(children(worker)) == 2 and hung.pid not in [one.pid for one in children(worker)],
        "it is replaced",
        timeout_s=60,
    )
    until_ready(worker, health)
    assert worker.end() < 60


@pytest.mark.chaos
@pytest.mark.timeout(1800)
def test_jobs_survive_processes_that_are_killed_at_random(fleet: Fleet, tmp_path: Path) -> None:
    """Every tenth job that ends is followed by the kill of a process that runs jobs."""
    health, dice = tmp_path / "health", random.Random(7)
    lease = {"STT_LEASE_S": "6", "STT_LEASE_RENEW_S": "1.5", "STT_SPEECH_DETECTOR": "level"}
    worker = fleet.launch(sessions=3, arguments=("--processes", "3"), STT_HEALTH_FILE=str(health), **lease)
    until_ready(worker, health)
    files = [fleet.audio(f"k{n}", 20, seed=n) for n in range(100)]
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=10.0)
    killed: list[int] = []
    while True:
        records = [fleet.record(job.id) for job in batch.jobs]
        running = [record for record in records if record.state == "running" and record.owner]
        if (ended := sum(record.state.ended for record in records)) == len(files):
            break
        owners = {int(record.owner.split(":")[1]) for record in running}
        busy = [process for process in children(worker) if process.pid in owners]
        if ended >= 10 * (len(killed) + 1) and busy:
            victim = dice.choice(busy)
            victim.kill()
            killed.append(victim.pid)
        time.sleep(0.2)
    assert len(killed) >= 8
    for job, (_, words) in zip(batch.jobs, files, strict=True):
        fleet.assert_done(job.id, words)
    until_ready(worker, health)
    assert len(children(worker)) == 3
    assert not {process.pid for process in children(worker)} & set(killed)
    assert worker.end() < 60


SHARED = """
import sys
from worker import metrics_sharing
metrics_sharing.share(int(sys.argv[1]))
from worker import metrics
metrics.SESSIONS_OPEN.set(3)
metrics.QUEUE_DEPTH.set(10 * int(sys.argv[1]))
metrics.REDIS_UP.set(int(sys.argv[1]) - 1)
metrics.JOBS_ENDED.labels("done").inc(2)
metrics.COMMIT_LATENCY.observe(1.0)
"""
MERGED = """
import os, sys
from pathlib import Path
from worker import metrics, metrics_sharing
registry = metrics_sharing.merged_registry(Path(sys.argv[1]), lambda: [os.getppid()])
metrics.add_build(registry)
print(metrics.exposition(registry, "text/plain")[0].decode())
"""


def test_metrics_of_several_processes_become_one_page(tmp_path: Path) -> None:
    """Process 1 is replaced once. Its counters continue."""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    for number in (1, 2, 1):
        subprocess.run([sys.executable, "-c", SHARED, str(number)], env=environ, check=True, timeout=60)
    merge = [sys.executable, "-c", MERGED, str(tmp_path)]
    page = subprocess.run(merge, check=True, capture_output=True, text=True, timeout=60).stdout
    lines = page.splitlines()
    assert 'stt_jobs_ended_total{state="done"} 6.0' in lines
    assert "stt_sessions_open 6.0" in lines
    assert "stt_queue_depth 20.0" in lines
    assert "stt_redis_up 0.0" in lines
    assert "stt_commit_latency_seconds_count 3.0" in lines
    assert any(line.startswith("stt_build_info{") for line in lines)
    assert len([line for line in lines if line.startswith("process_cpu_seconds_total ")]) == 1
    assert "# HELP stt_sessions_open Sessions open with the real-time service" in lines
