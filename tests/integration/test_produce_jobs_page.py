"""Every method in the guides with which a program submits a job works, even if the program has its own modules
`tasks.py` and `worker.py`."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from celery import Celery

from tests.support.stand_in_workers import StandInWorkers
from tests.support.wait import wait_until

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "docs" / "guides" / name for name in ("produce-jobs.md", "service.md")]
TEXT = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
SCRIPT = Path(sys.executable).with_name("stt-batch")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory, shared_redis: str) -> Iterator[Path]:
    """The folder of a user's program with its own modules `tasks.py` and `worker.py`. A worker of this project runs."""
    folder = tmp_path_factory.mktemp("program")
    with redis.Redis.from_url(shared_redis) as client:
        client.flushall()
    (folder / "ok-2.wav").write_bytes(b"audio")
    (folder / "tasks.py").write_text(block("python", "send_task", folder, shared_redis), encoding="utf-8")
    (folder / "worker.py").write_text(block("python", "xadd", folder, shared_redis), encoding="utf-8")
    workers = StandInWorkers(folder, shared_redis)
    workers.start()
    yield folder
    workers.close()


def block(language: str, part: str, folder: Path, redis_url: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (code,) = [str(code) for code in found if part in code]
    changes = {"/audio/call.wav": str(folder / "ok-2.wav"), "/results": str(folder / "results")}
    for old, new in {**changes, "redis://127.0.0.1:6379/0": redis_url}.items():
        code = code.replace(old, new)
    return code


def run(*command: str, folder: Path, redis_url: str) -> str:
    """Run a command in the folder of the program, so that Python imports the modules of this folder first."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "STT_REDIS_URL": redis_url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ends_as_done(identity: str, redis_url: str) -> bool:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        wait_until(lambda: client.hget(f"stt:job:{identity}", "state") == "done", f"{identity} is done", timeout_s=30)
        return bool(client.get(f"stt:job:{identity}:transcript"))


def test_a_program_sends_a_celery_task_from_its_own_tasks_module(program: Path, shared_redis: str) -> None:
    run(sys.executable, "tasks.py", folder=program, redis_url=shared_redis)
    assert ends_as_done("call-17", shared_redis)
    with Celery("shop", broker=shared_redis, backend=shared_redis, set_as_current=False) as app:
        assert app.AsyncResult("call-17").state == "PENDING", "the workers store no results of Celery"


def test_a_program_adds_an_intake_entry_from_its_own_worker_module(program: Path, shared_redis: str) -> None:
    run(sys.executable, "worker.py", folder=program, redis_url=shared_redis)
    assert ends_as_done("call-18", shared_redis)


def test_the_command_works_beside_modules_of_the_same_names(program: Path, shared_redis: str) -> None:
    command = shlex.split(block("sh", "--out /results --json", program, shared_redis))
    assert command[0] == "stt-batch"
    document = json.loads(run(str(SCRIPT), *command[1:], folder=program, redis_url=shared_redis))
    assert ends_as_done(document["jobs"][0]["id"], shared_redis)


@pytest.mark.parametrize("part", ["import submit\n", "import submit_many"])
def test_the_import_works_in_a_folder_without_such_modules(
    part: str, program: Path, shared_redis: str, tmp_path: Path
) -> None:
    code = block("python", part, program, shared_redis)
    output = run(sys.executable, "-c", code, folder=tmp_path, redis_url=shared_redis)
    assert re.search(r"queued|running|done", output)
