"""The metric of waiting audio, and a simulation of deploy/kubernetes/autoscaling.yaml with local processes: the metric
sets the number of workers, workers end and are killed while they run jobs, and no word is lost or repeated."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import pytest
import redis

from tasks.client.handles import BatchHandle, submit_many
from tests.support.fleet import Fleet, Worker, environment
from tests.support.forked_process import ForkedProcess, start_process
from tests.support.pipeline_run import assert_said
from tests.support.ports import free_port
from tests.support.wait import wait_until
from worker.ledger.connection import RedisConnection
from worker.ledger.queue_audio import ASSUMED_S, QueueAudioReader
from worker.ledger.queue_stats import QueueStatsReader
from worker.ledger.records import JobRecord
from worker.settings import Settings

JOBS: Final = int(os.environ.get("STT_AUTOSCALING_JOBS", "20"))
"""Jobs of the simulation: 20 take 8 minutes on two cores, 100 take 37."""
MIN_WORKERS: Final = 1
MAX_WORKERS: Final = 4
SESSIONS: Final = 4


@pytest.fixture
def fleet_settings() -> Mapping[str, str]:
    """A lease that a busy machine renews in time: lost leases would repeat audio as well."""
    lease = {"STT_LEASE_S": "10", "STT_LEASE_RENEW_S": "2", "STT_REAP_INTERVAL_S": "2"}
    return {**lease, "STT_SPEECH_DETECTOR": "level"}  # costs least


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
            self.running.append(self.fleet.launch(sessions=SESSIONS))
        self.most = max(self.most, len(self.running))
        if len(self.running) > desired and time.monotonic() - self._last_down > self.down_s:
            self._last_down = time.monotonic()
            self.running.pop(0).signal(signal.SIGTERM)
            self.ended += 1


@dataclass
class RandomKills:
    """Kills a worker that runs jobs each time a further share of the audio has text.

    The kills follow the progress and not the clock: on a busy machine, kills in fixed intervals would come before any
    worker has committed a text."""

    fleet: Fleet
    audio_s: float
    job_s: float
    count: int
    dice: random.Random
    interrupted: list[int] = field(default_factory=list)
    """Number of running jobs of each killed worker."""

    def __post_init__(self) -> None:
        self._next_s = self._threshold_s()

    def step(self, left: Sequence[JobRecord]) -> None:
        """`left`: records of the jobs that have not ended."""
        left_s = sum(self.job_s - record.progress.committed_s for record in left)
        if self.audio_s - left_s < self._next_s or len(self.interrupted) == self.count:
            return
        owners = [int(record.owner.split(":")[1]) for record in left if record.state == "running" and record.owner]
        alive = {worker.pid: worker for worker in self.fleet.workers if worker.process.poll() is None}
        busy = sorted(set(owners) & set(alive))
        if busy:
            pid = self.dice.choice(busy)
            alive[pid].kill()
            self.interrupted.append(owners.count(pid))
            self._next_s = self._threshold_s()

    def _threshold_s(self) -> float:
        return self.audio_s * (len(self.interrupted) + self.dice.random()) / (self.count + 1)


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


def batch_records(fleet: Fleet, batch: BatchHandle) -> list[JobRecord]:
    return [fleet.record(job.id) for job in batch.jobs]


def streamed_s(fleet: Fleet) -> float:
    """Return the audio that the service has received, with the silence after the end of each session."""
    return page(fleet.url)["stt_server_audio_seconds_total"]


def overhead_ratio(fleet: Fleet, long_s: float, speed: float) -> float:
    """Return the share of audio that undisturbed jobs stream in addition to their files: the silence after the end of
    each session, without which the service would not commit the last words."""
    files = [fleet.audio(f"undisturbed-{n}", long_s, seed=900 + n) for n in range(4)]
    before_s, worker = streamed_s(fleet), fleet.start(sessions=SESSIONS)
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=speed)
    fleet.until_ended(*[job.id for job in batch.jobs], timeout_s=900)
    worker.end()
    return (streamed_s(fleet) - before_s) / (len(files) * long_s) - 1


@pytest.mark.chaos
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("jobs", "long_s", "speed", "kills"),
    [pytest.param(JOBS, 600.0, 8.0, JOBS * 15 // 100, id=f"{JOBS} long jobs")],
)
def test_workers_follow_the_metric_and_every_word_is_there_once(
    fleet: Fleet, jobs: int, long_s: float, speed: float, kills: int, record_property: Callable[[str, object], None]
) -> None:
    overhead = overhead_ratio(fleet, long_s, speed)
    files = [fleet.audio(f"long-{n}", long_s, seed=n) for n in range(jobs)]
    audio_s = jobs * long_s
    reporter, url = intake(fleet)
    scaler = Autoscaler(fleet, url, threshold_s=audio_s / MAX_WORKERS)
    killer = RandomKills(fleet, audio_s, long_s, kills, random.Random(19))
    before_s, began = streamed_s(fleet), time.monotonic()
    batch = submit_many([path for path, _ in files], settings=fleet.settings, speed=speed)
    try:
        while running := [record for record in batch_records(fleet, batch) if not record.state.ended]:
            scaler.step()
            killer.step(running)
            time.sleep(1.0)
    finally:
        reporter.kill()
        reporter.wait(20)
    figures = {
        "audio_s": audio_s,
        "took_s": round(time.monotonic() - began, 1),
        "killed": len(killer.interrupted),
        "interrupted_jobs": sum(killer.interrupted),
        "ended": scaler.ended,
        "most_workers": scaler.most,
        "streamed_ratio": round((streamed_s(fleet) - before_s) / audio_s, 4),
        "streamed_ratio_undisturbed": round(1 + overhead, 4),
    }
    figures["repeated_ratio"] = repeated = round(figures["streamed_ratio"] - figures["streamed_ratio_undisturbed"], 4)
    record_property("figures", json.dumps(figures))
    print(figures)  # noqa: T201
    for job, (_, words) in zip(batch.jobs, files, strict=True):
        assert fleet.record(job.id).state == "done", fleet.record(job.id).error
        assert_said(fleet.transcript(job.id), words)
        # Long files are streamed in sections, so their commits are not in order of time.
        assert sorted(fleet.committed(job.id)) == sorted(word.text for word in words)
    assert len(killer.interrupted) == kills
    assert scaler.ended > 0
    assert scaler.most == MAX_WORKERS
    assert repeated < 0.02, figures
