"""The background tasks of every worker: the limit of sessions across processes, and the intake."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tasks.client.handles import submit_many
from tests.support.fleet import Fleet, assert_every_key_ends, open_sessions, tone_server
from tests.support.wait import wait_until

PACE = 4.0
MOST = 3


@pytest.fixture
def fleet_settings() -> dict[str, str]:
    return {"STT_API_KEY_MAX_SESSIONS": str(MOST)}


def test_13_the_session_limit_is_respected_while_workers_are_killed(fleet: Fleet) -> None:
    spoken = {f"f{n}": fleet.audio(f"f{n}", 6, seed=n) for n in range(8)}
    wait_until(lambda: open_sessions(fleet.url) == 0, "the sessions of earlier tests end")
    fleet.start()
    fleet.start()
    batch = submit_many([source for source, _ in spoken.values()], settings=fleet.settings, speed=PACE)
    seen: list[int] = []
    killed = None

    def look() -> bool:
        nonlocal killed
        seen.append(open_sessions(fleet.url))
        if killed is None and len(seen) > 5 and seen[-1] == MOST:
            fleet.workers[0].kill()
            killed = time.monotonic()
            fleet.start()
        return all(fleet.record(job.id).state.ended for job in batch.jobs)

    wait_until(look, "all jobs ended", timeout_s=100, poll_s=0.1)
    assert killed is not None
    assert max(seen) == MOST
    for (_, words), job in zip(spoken.values(), batch.jobs, strict=True):
        fleet.assert_done(job.id, words)
    # All jobs have ended, so the slots of the killed worker became free when their lease expired.


def test_without_a_configured_limit_the_limit_of_the_service_is_learned(tmp_path: Path, redis_url: str) -> None:
    """The service accepts 4 sessions and refuses more. The workers find this limit together, and all jobs are done."""
    with tone_server(tmp_path, STT_SERVER_MAX_SESSIONS="4") as url:
        fleet = Fleet(tmp_path, redis_url, url)
        try:
            spoken = {f"f{n}": fleet.audio(f"f{n}", 6, seed=n) for n in range(12)}
            workers = [fleet.start(sessions=6) for _ in range(2)]
            batch = submit_many([source for source, _ in spoken.values()], settings=fleet.settings, speed=PACE)
            fleet.until_ended(*(job.id for job in batch.jobs), timeout_s=100)
            for (_, words), job in zip(spoken.values(), batch.jobs, strict=True):
                fleet.assert_done(job.id, words)
            refused = sum(worker.text().count("session ended early") for worker in workers)
            assert 0 < refused < 40
            assert_every_key_ends(redis_url)
        finally:
            fleet.close()


def test_the_intake_of_a_worker_accepts_jobs_of_other_languages(fleet: Fleet) -> None:
    source, words = fleet.audio("call", 5)
    fleet.start()
    entry = fleet.raw.xadd("stt:intake", {"job": json.dumps({"source": str(source), "speed": "max"})})
    poison = fleet.raw.xadd("stt:intake", {"job": "{not json"})

    def replies() -> dict[str, dict[str, str]]:
        return {fields["request"]: fields for _, fields in fleet.raw.xrange("stt:intake:replies")}

    wait_until(lambda: {entry, poison} <= set(replies()), "both are answered", timeout_s=60)
    assert "job" not in replies()[poison]
    job_id = replies()[entry]["job"]
    fleet.until_ended(job_id)
    fleet.assert_done(job_id, words)
