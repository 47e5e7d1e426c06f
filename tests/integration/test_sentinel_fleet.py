"""Workers behind real Sentinels: the primary is killed while jobs run, and each word is written once."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from tasks import submit
from tests.support.fleet import Fleet, tone_server
from tests.support.redis_topologies import SentinelFleet, Server, sentinel_fleet
from tests.support.tones import ToneWord
from tests.support.wait import allowed_s, wait_until
from worker.errors import LedgerUnavailable
from worker.ledger.records import JobState

pytestmark = pytest.mark.chaos
LEASE_S = 15.0
"""Workers of a busy machine renew leases of a few seconds too late, and lose them without any failover."""
MAX_RECOVERY_S = LEASE_S + 2.0
"""Maximum seconds from the choice of the new primary until each job that ran before has a new or renewed lease."""
JOB_S = 40.0
SETTINGS = {
    **{"STT_LEASE_S": str(LEASE_S), "STT_LEASE_RENEW_S": "4", "STT_REAP_INTERVAL_S": "3"},
    **{"STT_REDIS_REPLICAS": "1", "STT_SPEED": "1"},
}


@dataclass(frozen=True)
class Failover:
    choice_s: float
    """Seconds from the death of the primary until the Sentinels had chosen another one."""
    recovery_s: list[float]
    """Seconds from then until the job ran again, for each job that ran before."""
    disturbed: bool
    """Whether the Sentinels replaced the new primary as well, because it was slow on a busy machine."""

    def __str__(self) -> str:
        times = self.recovery_s or [0.0]
        return (
            f"new primary after {self.choice_s:.1f} s; {len(self.recovery_s)} jobs run again after "
            f"{statistics.median(times):.1f} s, the last one after {max(times):.1f} s"
            f"{'; another failover meanwhile' if self.disturbed else ''}"
        )


class Jobs:
    """Jobs that run during failovers, as the current primary records them."""

    def __init__(self, fleet: Fleet, servers: SentinelFleet) -> None:
        self._fleet, self._servers = fleet, servers
        self.words: dict[str, list[ToneWord]] = {}

    def add(self, count: int) -> None:
        for number in range(len(self.words), len(self.words) + count):
            path, words = self._fleet.audio(f"job-{number}", JOB_S, seed=number)

            def accepted(path: Path = path, words: list[ToneWord] = words) -> bool:
                try:
                    self.words[submit(path, settings=self._fleet.settings).id] = words
                except LedgerUnavailable:  # the Sentinels replace a primary that is slow on a busy machine
                    return False
                return True

            wait_until(accepted, "the job is accepted", timeout_s=60)

    def fill(self, at_once: int) -> None:
        """Add jobs until at least half of `at_once` jobs run. Earlier ones may end while files are written."""

        def filled() -> bool:
            with self._servers.primary().client() as raw:
                left = at_once - int(raw.zcard("stt:leases")) - int(raw.zcard("stt:queue"))
            self.add(max(0, left))
            return len(self.leases()) >= at_once // 2

        wait_until(filled, "jobs run", timeout_s=120)

    def leases(self) -> dict[str, float]:
        """Return the end of the lease of each running job, in ms."""
        with self._servers.primary().client() as raw:
            return dict(raw.zrange("stt:leases", 0, -1, withscores=True))

    def recovered(self, running: set[str], chosen_ms: float) -> set[str]:
        """Return the jobs of `running` whose lease was given or renewed after `chosen_ms`, or that have ended."""
        leases = self.leases()
        left = [job_id for job_id in running if leases.get(job_id, 0.0) < chosen_ms + LEASE_S * 1000]
        with self._servers.primary().client() as raw:
            ended = {i for i in left if raw.hget(f"stt:job:{i}", "state") not in ("running", "queued")}
        return running - (set(left) - ended)

    def assert_every_word_once(self) -> None:
        with self._servers.primary().client() as raw:
            self._fleet.redis_url = self._servers.primary().url
            ends = {one: raw.hmget(f"stt:job:{one}", "state", "error_code", "error", "attempts") for one in self.words}
        wrong = {one: end for one, end in ends.items() if end[0] != JobState.DONE}
        assert not wrong, f"state, error code, error and attempts of {len(wrong)} of {len(ends)} jobs: {wrong}"
        for job_id, words in self.words.items():
            self._fleet.assert_done(job_id, words)


def fail_over(servers: SentinelFleet, jobs: Jobs) -> tuple[Server, Failover]:
    """Kill the primary. Returns it, and the times of the failover and of the recovery of each running job."""
    running = set(jobs.leases())
    started = time.monotonic()
    dead = servers.fail_over()
    chosen = time.monotonic()
    primary = servers.primary()
    with primary.client() as raw:
        seconds, micros = raw.time()
    waiting, times = set(running), list[float]()

    def all_recovered() -> bool:
        try:
            done = jobs.recovered(waiting, seconds * 1000 + micros / 1000)
        except redis.RedisError:
            return False
        times.extend([time.monotonic() - chosen] * len(done))
        waiting.difference_update(done)
        return not waiting

    wait_until(all_recovered, "all jobs run again", timeout_s=60, poll_s=0.1)
    return dead, Failover(chosen - started, times, servers.primary() is not primary)


@pytest.mark.parametrize(
    ("failovers", "at_once", "workers"), [pytest.param(2, 8, 2, id="short"), pytest.param(20, 100, 4, id="long")]
)
@pytest.mark.timeout(3600)
def test_the_primary_is_killed_under_running_jobs(tmp_path: Path, failovers: int, at_once: int, workers: int) -> None:
    with tone_server(tmp_path) as service, sentinel_fleet(tmp_path / "redis") as servers:
        fleet = Fleet(tmp_path, servers.url, service, SETTINGS)
        jobs = Jobs(fleet, servers)
        try:
            for _ in range(workers):
                fleet.start(sessions=at_once // workers)
            found: list[Failover] = []
            for number in range(failovers):
                jobs.fill(at_once)
                dead, failover = fail_over(servers, jobs)
                found.append(failover)
                print(f"failover {number + 1}: {failover}", flush=True)  # noqa: T201
                servers.restore(dead)

            def ended() -> bool:
                with servers.primary().client() as raw:
                    states = [raw.hget(f"stt:job:{one}", "state") for one in jobs.words]
                return all(state not in ("queued", "running") for state in states)

            wait_until(ended, "all jobs end", timeout_s=300, poll_s=0.2)
            jobs.assert_every_word_once()
            print(f"{len(jobs.words)} jobs, each word once", flush=True)  # noqa: T201
            slowest = max(max(one.recovery_s, default=0.0) for one in found if not one.disturbed)
            assert slowest <= allowed_s(MAX_RECOVERY_S)
        finally:
            fleet.close()
