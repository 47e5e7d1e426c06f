"""Two recordings never share a transcript, even if a source is replaced between two attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import main
from tasks.client.handles import submit
from tests.support.fleet import Fleet
from tests.support.wait import wait_until
from worker.ledger.ledger import JobState


def replace_by_another(fleet: Fleet, path: Path, name: str) -> list[object]:
    """Replace a recording by another one with the same name, as `mv other.wav call.wav` does. Returns the words of the
    new one."""
    other, words = fleet.audio(name, 14, seed=99)
    other.replace(path)
    return list(words)


@pytest.mark.parametrize("how", ["kill", pytest.param("end", marks=pytest.mark.chaos)])
def test_a_source_replaced_between_two_attempts(fleet: Fleet, how: str) -> None:
    path, _ = fleet.audio(f"replaced-{how}", 14)
    worker = fleet.start()
    job = submit(path, settings=fleet.settings, speed=2.0)
    wait_until(lambda: fleet.record(job.id).commits, "a commit", timeout_s=60)
    getattr(worker, how)()
    before = fleet.record(job.id)
    words = replace_by_another(fleet, path, f"other-{how}")
    fleet.start()
    fleet.until_ended(job.id)
    record = fleet.record(job.id)
    assert (record.state, record.error_code) == (JobState.FAILED, "source_changed")
    assert record.error is not None
    assert path.name in record.error
    assert f"stt-batch retry {job.id}" in record.error
    assert record.commits == before.commits, "what was committed is kept"

    again = CliRunner().invoke(main, ["retry", job.id], env=fleet.environ)
    assert again.exit_code == 0, again.output
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)

    assert fleet.record(job.id).state is JobState.DONE
    other = submit(path, settings=fleet.settings, speed=4.0)
    assert other.id != job.id, "the new content is another job"


def test_a_job_with_an_idempotency_key_restarts_by_itself(fleet: Fleet) -> None:
    path, _ = fleet.audio("keyed", 14)
    worker = fleet.start()
    job = submit(path, settings=fleet.settings, speed=2.0, idempotency_key="call-1")
    wait_until(lambda: fleet.record(job.id).commits, "a commit", timeout_s=60)
    worker.kill()
    words = replace_by_another(fleet, path, "keyed-other")
    fleet.start()
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)
    (warning,) = fleet.record(job.id).warnings
    assert warning.startswith("started over: ")
    assert "its content has changed since the job began" in warning


def test_a_source_replaced_between_submit_and_start(fleet: Fleet) -> None:
    path, _ = fleet.audio("queued", 8)
    job = submit(path, settings=fleet.settings, speed=4.0)
    replace_by_another(fleet, path, "queued-other")
    fleet.start()
    fleet.until_ended(job.id)
    record = fleet.record(job.id)
    assert (record.state, record.error_code, record.commits) == (JobState.FAILED, "source_changed", 0)


@pytest.mark.parametrize("between", [False, True], ids=["while it waits", "between two attempts"])
def test_a_source_that_is_renamed_before_an_attempt(fleet: Fleet, between: bool) -> None:
    path, words = fleet.audio("named", 14)
    moved = path.with_name("renamed.wav")
    worker = fleet.start() if between else None
    job = submit(path, settings=fleet.settings, speed=2.0)
    if worker is not None:
        wait_until(lambda: fleet.record(job.id).commits, "a commit", timeout_s=60)
        worker.kill()
    before = fleet.record(job.id)
    path.rename(moved)
    fleet.start()
    fleet.until_ended(job.id)
    record = fleet.record(job.id)
    assert (record.state, record.error_code) == (JobState.FAILED, "source_not_found")
    assert record.error is not None
    assert path.name in record.error
    assert record.commits == before.commits, "what was committed is kept"

    moved.rename(path)
    again = CliRunner().invoke(main, ["retry", job.id], env=fleet.environ)
    assert again.exit_code == 0, again.output
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)


@pytest.mark.parametrize("how", ["delete", pytest.param("rename", marks=pytest.mark.chaos)])
def test_a_source_deleted_or_renamed_while_it_is_streamed(fleet: Fleet, how: str) -> None:
    path, words = fleet.audio("deleted", 10)
    fleet.start()
    job = submit(path, settings=fleet.settings, speed=2.0)
    wait_until(lambda: fleet.record(job.id).commits, "a commit", timeout_s=60)
    if how == "delete":
        path.unlink()
    else:
        path.rename(path.with_name("elsewhere.wav"))
    fleet.until_ended(job.id)
    fleet.assert_done(job.id, words)
    assert fleet.record(job.id).attempts == 1
