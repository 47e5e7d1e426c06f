"""Workers that share an API key and get jobs from the intake never open more sessions than allowed."""

from __future__ import annotations

import json

import pytest

from tests.support.fleet import Fleet
from tests.support.wait import wait_until

LIMIT = 2


@pytest.fixture
def fleet_settings() -> dict[str, str]:
    return {"STT_API_KEY_MAX_SESSIONS": str(LIMIT), "STT_SPEED": "8"}


def test_two_workers_respect_the_limit_when_one_is_killed(fleet: Fleet) -> None:
    sound = {f"call-{n}": fleet.audio(f"call-{n}", 6.0, seed=n) for n in range(6)}
    first, second = fleet.start(sessions=4), fleet.start(sessions=4)
    with fleet.raw as raw:
        requests = {
            str(raw.xadd("stt:intake", {"job": json.dumps({"source": str(path)}), "key": name})): name
            for name, (path, _) in sound.items()
        }
        most, killed = 0, False

        def sessions() -> int:
            alive = [worker for worker in (first, second) if worker.process.poll() is None]
            return sum(worker.connections_to(fleet.url) for worker in alive)

        def all_ended() -> bool:
            nonlocal most, killed
            most = max(most, sessions())
            if not killed and first.connections_to(fleet.url):
                first.kill()
                killed = True
            return raw.xlen("stt:intake:replies") == 6 and all(fleet.record(name).state.ended for name in sound)

        wait_until(all_ended, "all jobs end", timeout_s=100, poll_s=0.05)
        assert killed
        assert 1 <= most <= LIMIT
        for name, (_, words) in sound.items():
            fleet.assert_done(name, words)
        answers = {fields["request"]: fields["job"] for _, fields in raw.xrange("stt:intake:replies")}
        assert answers == requests
        events = [(fields["event"], fields["job"]) for _, fields in raw.xrange("stt:events")]
    for name in sound:
        told = [event for event, job in events if job == name and event != "progress"]
        assert told[:2] == ["queued", "started"]
        assert told[-1] == "done"
        assert "committed" in told
