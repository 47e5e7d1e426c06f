"""If a worker reaches the limit of open files, its jobs do not fail."""

from __future__ import annotations

import resource

import pytest

from tasks.client.handles import submit_many
from tests.support.fleet import Fleet
from tests.support.wait import wait_until
from worker.ledger.ledger import JobState


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs prlimit(2)")
@pytest.mark.parametrize(
    ("limit", "files"), [(90, 30), pytest.param(128, 120, marks=[pytest.mark.chaos, pytest.mark.timeout(400)])]
)
def test_too_few_open_files_fail_no_job(fleet: Fleet, limit: int, files: int) -> None:
    sources = [fleet.audio(f"few-{n}", 4, seed=n)[0] for n in range(files)]
    worker = fleet.launch(sessions=100)
    resource.prlimit(worker.pid, resource.RLIMIT_NOFILE, (limit, limit))
    jobs = submit_many(sources, settings=fleet.settings, speed=4.0).jobs
    wait_until(lambda: "open files" in worker.text(), "the limit is named in the log", timeout_s=30)
    fleet.until_ended(*(job.id for job in jobs), timeout_s=60 + 2 * files)
    states = {job.id: fleet.record(job.id) for job in jobs}
    assert {record.state for record in states.values()} == {JobState.DONE}, {
        record.error for record in states.values() if record.state is not JobState.DONE
    }
    assert worker.process.poll() is None
    assert "too many files open" in worker.text(), "the limit was met"
