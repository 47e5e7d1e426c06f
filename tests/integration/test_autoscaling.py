"""The metric of waiting audio, and a simulation of deploy/kubernetes/autoscaling.yaml with local processes: the metric
sets the number of workers, workers end and are killed while they run jobs, and no word is lost or repeated."""

from __future__ import annotations

import json
import math
import random
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pytest
import redis

from tasks.client.handles import submit_many
from tests.support.fleet import Fleet, Worker, environment
from tests.support.forked_process import ForkedProcess, start_process
from tests.support.pipeline_run import assert_said
from tests.support.ports import free_port
from tests.support.wait import wait_until
from worker.ledger.connection import RedisConnection
from worker.ledger.queue_audio import ASSUMED_S, QueueAudioReader
from worker.ledger.queue_stats import QueueStatsReader
from worker.settings import Settings

MIN_WORKERS: Final = 1
MAX_WORKERS: Final = 4


def page(url: str) -> dict[str, float]:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310  our own
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_the_audio_of_waiting_and_running_jobs_is_estimated(settings: Settings, raw: redis.Redis) -> None:
    connection = RedisConnection(settings.redis_url)
    reader = QueueAudioReader(settings, connection)
    try:
        found = await reader.read()
        assert (found.waiting_s, found.running_s) == (0.0, 0.0)
        raw.zadd("stt:queue", {"a": 1, "b": 2})
        assert (await reader.read()).waiting_s == 2 * ASSUMED_S
        raw.zadd("stt:leases", {"c": 3})
        raw.zadd("stt:delayed", {"d": 4})
        raw.hset("stt:job:c", mapping={"duration_s": "200", "committed_s": "50"})
        raw.hset("stt:job:d", mapping={"duration_s": "100", "committed_s": "90"})
        found = await reader.read()
        assert found.running_s == 150.0
        assert found.waiting_s == 2 * 150.0 + 10.0, "two jobs of the mean duration, and the rest of the delayed one"
        raw.set("stt:job:a", "no record")
        raw.hset("stt:job:b", mapping={"duration_s": "nan", "committed_s": "x"})
        assert (await reader.read()).waiting_s == 310.0
        assert (await QueueStatsReader(settings, connection).read()).queued == 2
    finally:
        await connection.close()
        raw.delete("stt:queue", "stt:leases", "stt:delayed", "stt:job:a", "stt:job:b", "stt:job:c", "stt:job:d")


@dataclass
class Autoscaler:
    """Starts and ends workers as KEDA does: one for each `threshold_s` seconds of audio. It starts them at once, and
    ends at most one in `down_s` seconds."""

    fleet: Fleet
    metrics_url: str
    threshold_s: float
    sessions: int
    down_s: float = 15.0
    running: list[Worker] = field(default_factory=list)
    most: int = 0
    ended: int = 0
    _last_down: float = 0.0

    def step(self) -> None:
        self.running = [worker for worker in self.running if worker.process.poll() is None]
        values = page(self.metrics_url)
        audio_s = sum(values[f'stt_queue_audio_seconds{{state="{state}"}}'] for state in ("waiting", "running"))
        if math.isnan(audio_s):
            return
        desired = min(MAX_WORKERS, max(MIN_WORKERS, math.ceil(audio_s / self.threshold_s)))
        while len(self.running) < desired:
            self.running.append(self.fleet.launch(sessions=self.sessions))
        self.most = max(self.most, len(self.running))
        if len(self.running) > desired and time.monotonic() - self._last_down > self.down_s:
            self._last_down = time.monotonic()
            self.running.pop(0).signal(signal.SIGTERM)
            self.ended += 1


def intake(fleet: Fleet) -> tuple[ForkedProcess, str]:
    """Start an intake, which reports the metric while no worker runs. Returns it and the URL of its metrics."""
    port = free_port()
    environ = environment(**{**fleet.environ, "STT_METRICS_PORT": str(port)})
    process = start_process("tasks.cli", "intake", env=environ, log=fleet.folder / "intake.log")
    url = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return 'stt_queue_audio_seconds{state="waiting"}' in page(url)
        except OSError:
            return False

    wait_until(answers, "the intake reports the metric", timeout_s=60)
    return process, url


@pytest.mark.parametrize(
    ("jobs", "long_s", "speed", "kill_every_s"),
    [pytest.param(*(100, 600.0, 20.0, 25.0), id="100 long jobs", marks=[pytest.mark.chaos, pytest.mark.timeout(3000)])],
)
def test_workers_follow_the_metric_and_every_word_is_there_once(
    fleet: Fleet,
    jobs: int,
    long_s: float,
    speed: float,
    kill_every_s: float,
    record_property: Callable[[str, object], None],
) -> None:
    files = [fleet.audio(f"long-{n}", long_s, seed=n) for n in range(jobs)]
    audio_s = jobs * long_s
    reporter, url = intake(fleet)
    scaler = Autoscaler(fleet, url, threshold_s=audio_s / MAX_WORKERS, sessions=4)
    dice, killed, next_kill = random.Random(19), 0, time.monotonic() + kill_every_s
    before_s = page(fleet.url)["stt_server_audio_seconds_total"]
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=speed)
    left = {job.id for job in batch.jobs}
    began = time.monotonic()
    try:
        while left:
            scaler.step()
            if time.monotonic() > next_kill and scaler.running:
                dice.choice(scaler.running).kill()
                killed, next_kill = killed + 1, time.monotonic() + kill_every_s
            left -= {job_id for job_id in left if fleet.record(job_id).state.ended}
            time.sleep(1.0)
    finally:
        reporter.kill()
        reporter.wait(20)
    for job, (_, words) in zip(batch.jobs, files, strict=True):
        # Long files are streamed in sections, so their commits are not in order of time.
        assert fleet.record(job.id).state == "done"
        assert_said(fleet.transcript(job.id), words)
        assert sorted(fleet.committed(job.id)) == sorted(word.text for word in words)
    streamed_s = page(fleet.url)["stt_server_audio_seconds_total"] - before_s
    figures = {
        "audio_s": audio_s,
        "took_s": round(time.monotonic() - began, 1),
        "killed": killed,
        "ended": scaler.ended,
        "most_workers": scaler.most,
        "repeated_ratio": round(streamed_s / audio_s - 1, 4),
    }
    record_property("figures", json.dumps(figures))
    print(figures)  # noqa: T201
    assert killed > 3
    assert scaler.ended > 0
    assert scaler.most == MAX_WORKERS
    # Contains the silence after the end of each session, which is streamed so that the last words are committed.
    assert figures["repeated_ratio"] < 0.02, figures
