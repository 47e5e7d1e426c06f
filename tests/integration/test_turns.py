"""A batch does not starve what is submitted later: a real worker on a real queue."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.submit import submit, submit_many
from tests.support.wait import wait_until
from worker.settings import Settings, load

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(redis_url: str) -> Settings:
    return load({}, redis_url=redis_url)


@pytest.fixture
def worker(settings: Settings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("STT_")},
        **{"STT_REDIS_URL": settings.redis_url, "STT_URL": "http://127.0.0.1:1", "STT_API_KEY": "k"},
        "STT_SESSIONS": "2",
    }
    with (tmp_path / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fake_worker"], env=environment, cwd=ROOT, stdout=log, stderr=log
        )
    yield process
    process.kill()
    process.wait(10)


def test_a_single_job_comes_before_the_rest_of_a_batch(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, worker: subprocess.Popen[bytes]
) -> None:
    monkeypatch.setattr("tasks.messages.HEAD_OF_BATCH", 4)

    def audio(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name.encode())
        return path

    batch = submit_many([audio(f"big{n}/slow-4.wav") for n in range(60)], settings=settings, batch="big")
    wait_until(lambda: sum(s.state.ended for s in batch.status().jobs) > 4, "some of the batch are done", timeout_s=30)
    low = submit(audio("low/slow-4.wav"), settings=settings, priority="low")
    single = submit(audio("single/slow-4.wav"), settings=settings)
    high = submit(audio("high/slow-4.wav"), settings=settings, priority="high")
    single.wait(timeout_s=20)
    high.wait(timeout_s=20)
    left = [job for job in batch.status().jobs if not job.state.ended]
    assert len(left) > 30
    low.wait(timeout_s=60)
    assert batch.status().ended, "low comes last"
