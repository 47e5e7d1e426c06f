"""Celery's own tools with workers: inspect and remote control, Flower, log files and `celery multi`, each with the
rights that the documentation gives it."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery

from tasks.client.handles import submit
from tests.support import readme
from tests.support.fleet import ROOT, environment
from tests.support.forked_process import start_process
from tests.support.ports import free_port
from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import wait_until
from worker.ledger.keys import Keys
from worker.settings import load

PASSWORD = "a-long-password"
PREFIXED = {"global_keyprefix": "stt:celery:"}
ROLES = ("worker", "monitor", "sender")


def rights(user: str) -> list[str]:
    """Return the arguments of `ACL SETUSER` that the documentation shows for a user."""
    found = re.search(rf"redis-cli ACL SETUSER {user} on '>a-long-password' (.*)", readme.text())
    assert found, f"no page shows the rights of {user}"
    return [word.strip("'") for word in found[1].split()]


@pytest.fixture
def roles(raw: redis.Redis, redis_url: str) -> Iterator[Mapping[str, str]]:
    """URLs of Redis, by role. Each role has a user with only the documented rights."""
    for role in ROLES:
        raw.execute_command("ACL", "SETUSER", role, "reset", "on", f">{PASSWORD}", *rights(role))
    raw.execute_command("ACL", "LOG", "RESET")
    yield {role: redis_url.replace("//", f"//{role}:{PASSWORD}@") for role in ROLES}
    refused = raw.execute_command("ACL", "LOG")
    raw.execute_command("ACL", "DELUSER", *ROLES)
    assert not refused, refused


@pytest.fixture
def monitored(tmp_path: Path, roles: Mapping[str, str], redis_url: str) -> Iterator[StandInWorkers]:
    """A worker with the remote control, and with the rights of workers."""
    workers = StandInWorkers(tmp_path, roles["worker"])
    workers.start("tests.support.fake_worker", "-n", "w0@test", STT_CELERY_REMOTE_CONTROL="1")
    wait_until(lambda: "worker ready" in workers.text(), "the worker is ready", timeout_s=60)
    yield workers
    workers.close()


def run_job(folder: Path, sender_url: str, redis_url: str, name: str) -> Any:
    """Send a whole job as an application of Celery does, and return its handle."""
    path = folder / name
    path.write_bytes(name.encode())
    with Celery("theirs", broker=sender_url, set_as_current=False) as app:
        app.send_task(
            "tasks.transcribe",
            kwargs={"job": {"source": str(path)}},
            queue=Keys("stt:").celery(load({}).queue),
            ignore_result=True,
        )
    return submit(path, settings=load({}, redis_url=redis_url))


def test_inspect_and_control_answer(
    monitored: StandInWorkers, roles: Mapping[str, str], redis_url: str, tmp_path: Path
) -> None:
    handle = run_job(tmp_path, roles["sender"], redis_url, "slow-2000.wav")
    wait_until(lambda: handle.status().commits > 0, "the job runs", timeout_s=60)
    with Celery("tool", broker=roles["monitor"], set_as_current=False) as app:
        app.conf.broker_transport_options = PREFIXED
        inspect = app.control.inspect(destination=["w0@test"], timeout=10)
        assert inspect.ping() == {"w0@test": {"ok": "pong"}}
        (task,) = [task for task in inspect.active()["w0@test"] if task["name"] == "tasks.transcribe"][:1]
        assert task["worker_pid"] == monitored.started[0].pid
        assert inspect.stats()["w0@test"]["pool"]["max-concurrency"] == 4
        assert "tasks.transcribe" in inspect.registered()["w0@test"]
        for command, remedy in {
            "pool_grow": "STT_WORKER_SESSIONS",
            "pool_shrink": "STT_WORKER_SESSIONS",
            "autoscale": "STT_WORKER_SESSIONS",
            "revoke": "stt-batch cancel",
            "terminate": "stt-batch cancel",
            "time_limit": "stt-batch cancel",
            "cancel_consumer": "stt-batch pause",
        }.items():
            (answer,) = app.control.broadcast(
                command, {"task_id": "x"}, destination=["w0@test"], reply=True, timeout=10, limit=1
            )
            assert remedy in answer["w0@test"]["error"]
        app.control.shutdown(destination=["w0@test"])
    assert monitored.started[0].wait(60) == 0
    assert handle.status().state == "queued"
    assert "Traceback" not in monitored.text()


def test_flower_shows_the_worker_and_its_tasks(
    monitored: StandInWorkers, roles: Mapping[str, str], redis_url: str, tmp_path: Path
) -> None:
    pytest.importorskip("flower")
    port, login = free_port(), "admin:secret"
    (tmp_path / "celeryconfig.py").write_text(f"broker_transport_options = {PREFIXED}")
    env = environment(CELERY_BROKER_URL=roles["monitor"], FLOWER_BASIC_AUTH=login, PYTHONPATH=f"{ROOT}:{tmp_path}")
    flower = start_process("celery", "flower", f"--port={port}", env=env, log=tmp_path / "flower.log")

    def ask(path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}")
        request.add_header("Authorization", "Basic " + base64.b64encode(login.encode()).decode())
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310  our own
            return json.load(answer)

    try:
        wait_until(lambda: "Connected to" in (tmp_path / "flower.log").read_text(), "Flower is connected", timeout_s=60)
        wait_until(lambda: "w0@test" in ask("api/workers?refresh=1"), "Flower lists the worker", timeout_s=30)
        handle = run_job(tmp_path, roles["sender"], redis_url, "ok-3.wav")
        handle.wait(timeout_s=60)
        wait_until(
            lambda: [task for task in ask("api/tasks").values() if task["state"] == "SUCCESS"],
            "Flower lists the task",
            timeout_s=30,
        )
    finally:
        flower.kill()
        flower.wait(20)


def test_a_worker_logs_to_its_file_and_continues_after_a_rotation(workers: StandInWorkers, tmp_path: Path) -> None:
    log = tmp_path / "w1.log"
    process = workers.start(
        *("celery", "-A", "tasks", "worker", "-n", "w1@test", "--loglevel", "INFO"), f"--logfile={tmp_path}/%n.log"
    )
    wait_until(lambda: log.exists() and "worker ready" in log.read_text(), "the file has the log", timeout_s=60)
    log.rename(tmp_path / "old.log")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert "shutting down" in log.read_text()
    assert "worker ready" not in workers.text(), "nothing is written twice"


def test_a_refused_start_is_in_the_log_file(workers: StandInWorkers, tmp_path: Path) -> None:
    process = workers.start("celery", "-A", "tasks", "worker", f"--logfile={tmp_path}/refused.log", STT_URL="")
    assert process.wait(60) != 0
    assert "set STT_URL and STT_API_KEY" in (tmp_path / "refused.log").read_text()


@pytest.mark.chaos
def test_celery_multi_starts_logs_and_stops_workers(workers: StandInWorkers, tmp_path: Path, redis_url: str) -> None:
    env = environment(STT_REDIS_URL=redis_url, STT_URL="http://127.0.0.1:1", STT_API_KEY="key", C_FORCE_ROOT="1")

    def multi(verb: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "celery", "-A", "tasks", "multi", verb, "2", "-l", "INFO"]
        places = [f"--logfile={tmp_path}/%n%I.log", f"--pidfile={tmp_path}/%n.pid"]
        return subprocess.run([*command, *places], env=env, capture_output=True, text=True, timeout=120, check=False)

    assert multi("start").returncode == 0
    logs = [tmp_path / f"celery{n}.log" for n in (1, 2)]
    wait_until(
        lambda: all(log.exists() and "worker ready" in log.read_text() for log in logs),
        "both log files say that the worker is ready",
        timeout_s=60,
    )
    assert multi("stopwait").returncode == 0
    assert all("shutting down" in log.read_text() for log in logs)
    assert not list(tmp_path.glob("*.pid"))
