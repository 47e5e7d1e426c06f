"""Workers behind real Sentinels: the primary is killed while jobs run, and each word is written once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tasks import submit
from tests.support.fleet import LEASE_S, Fleet, tone_server
from tests.support.redis_topologies import SentinelFleet, Server, sentinel_fleet
from tests.support.tones import ToneWord
from tests.support.wait import wait_until
from worker.ledger.records import JobState

pytestmark = pytest.mark.chaos
MAX_RESUME_S = LEASE_S + 2.0
"""Maximum seconds from the choice of the new primary until running jobs commit again."""


def settings_of(replicas: int) -> dict[str, str]:
    return {"STT_REDIS_REPLICAS": str(replicas), "STT_SPEED": "2"}


class Jobs:
    """Jobs that run during failovers, and the commits that the present primary has of them."""

    def __init__(self, fleet: Fleet, servers: SentinelFleet) -> None:
        self._fleet, self._servers = fleet, servers
        self.words: dict[str, list[ToneWord]] = {}

    def add(self, count: int, duration_s: float) -> None:
        for number in range(len(self.words), len(self.words) + count):
            path, words = self._fleet.audio(f"job-{number}", duration_s, seed=number)
            handle = submit(path, settings=self._fleet.settings)
            self.words[handle.id] = words

    def fill(self, at_once: int) -> None:
        """Add jobs until at least half of `at_once` jobs run. Earlier ones may end while files are written."""

        def filled() -> bool:
            with self._servers.primary().client() as raw:
                left = at_once - int(raw.zcard("stt:leases")) - int(raw.zcard("stt:queue"))
            self.add(max(0, left), 40.0)
            return self.running() >= at_once // 2

        wait_until(filled, "jobs run", timeout_s=120)

    def commits(self) -> int:
        with self._servers.primary().client() as raw:
            return sum(int(raw.hget(f"stt:job:{one}", "commits") or 0) for one in self.words)

    def running(self) -> int:
        with self._servers.primary().client() as raw:
            return int(raw.zcard("stt:leases"))

    def assert_every_word_once(self) -> None:
        with self._servers.primary().client() as raw:
            self._fleet.redis_url = self._servers.primary().url
            ends = {one: raw.hmget(f"stt:job:{one}", "state", "error_code", "error", "attempts") for one in self.words}
        wrong = {one: end for one, end in ends.items() if end[0] != JobState.DONE}
        assert not wrong, f"state, error code, error and attempts of {len(wrong)} of {len(ends)} jobs: {wrong}"
        for job_id, words in self.words.items():
            self._fleet.assert_done(job_id, words)


def fail_over(servers: SentinelFleet, jobs: Jobs) -> tuple[Server, float, float]:
    """Kill the primary. Returns it, the seconds until another one was chosen, and then until jobs commit again."""
    started = time.monotonic()
    dead = servers.fail_over()
    chosen = time.monotonic()
    before = jobs.commits()
    wait_until(lambda: jobs.commits() > before or not jobs.running(), "jobs commit again", timeout_s=60)
    return dead, chosen - started, time.monotonic() - chosen


@pytest.mark.parametrize(
    ("failovers", "at_once", "workers"), [pytest.param(2, 8, 2, id="short"), pytest.param(20, 100, 4, id="long")]
)
@pytest.mark.timeout(3600)
def test_the_primary_is_killed_under_running_jobs(tmp_path: Path, failovers: int, at_once: int, workers: int) -> None:
    with tone_server(tmp_path) as service, sentinel_fleet(tmp_path / "redis") as servers:
        fleet = Fleet(tmp_path, servers.url, service, settings_of(replicas=1))
        jobs = Jobs(fleet, servers)
        try:
            for _ in range(workers):
                fleet.start(sessions=at_once // workers)
            took: list[tuple[float, float]] = []
            for number in range(failovers):
                jobs.fill(at_once)
                dead, choice_s, resume_s = fail_over(servers, jobs)
                took.append((choice_s, resume_s))
                print(f"failover {number + 1}: chosen after {choice_s:.1f} s, commits {resume_s:.1f} s later")  # noqa: T201
                servers.restore(dead)
            wait_until(lambda: not jobs.running(), "no job runs", timeout_s=300, poll_s=0.2)

            def ended() -> bool:
                with servers.primary().client() as raw:
                    states = [raw.hget(f"stt:job:{one}", "state") for one in jobs.words]
                return all(state not in ("queued", "running") for state in states)

            wait_until(ended, "all jobs end", timeout_s=300, poll_s=0.2)
            jobs.assert_every_word_once()
            assert max(resume_s for _, resume_s in took) <= MAX_RESUME_S, took
        finally:
            fleet.close()
