"""`stt-batch cancel`, `pause`, `resume`, `retry` and their effect on `status`. No worker runs. Each command also runs
once as a separate process; all other tests call the commands in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.client.handles import BatchHandle, submit_many
from tests.support.command_line import Cli, cli
from tests.support.fleet import assert_every_key_ends
from tests.support.samples_of import a_segment, a_transcript
from worker.job_progress import Progress
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger
from worker.settings import Settings, load
from worker.transcript.model import Gap, Transcript

__all__ = ["cli"]  # a fixture


@pytest.fixture
def settings(redis_url: str) -> Iterator[Settings]:
    yield load({}, redis_url=redis_url)
    assert_every_key_ends(redis_url)


@pytest.fixture
def batch(settings: Settings, tmp_path: Path) -> BatchHandle:
    paths = [tmp_path / f"{name}.wav" for name in "abc"]
    for path in paths:
        path.write_bytes(path.name.encode())
    return submit_many(paths, batch="monday", settings=settings)


async def act(settings: Settings, job_id: str, *, failed: str = "", gap: Gap | None = None) -> None:
    """Act as a worker: commit a segment, then fail, end incomplete, or continue to run."""
    ledger = Ledger(settings)
    lease = await ledger.acquire(job_id, "w")
    assert isinstance(lease, Lease), lease
    await lease.commit(a_segment("kept", 0.0, 1.5))
    await lease.progress(Progress(10, 4, 1.5, "", speed=float("inf"), trouble="the line broke"))
    if failed:
        await lease.fail("session_lost", failed)
    if gap is not None:
        await lease.finish(incomplete(job_id, gap), [])
    await ledger.close()


def incomplete(job_id: str, gap: Gap) -> Transcript:
    whole = a_transcript(job_id)
    return whole.model_copy(update={"coverage": whole.coverage.model_copy(update={"missing": (gap,)})})


def test_cancel_a_job_and_a_batch(cli: Cli, settings: Settings, batch: BatchHandle, redis_url: str) -> None:
    one, *others = [job.id for job in batch.jobs]
    assert cli.json("cancel", one, STT_REDIS_URL=redis_url) == {"cancelled": [one]}
    assert sorted(cli.json("cancel", "monday", STT_REDIS_URL=redis_url)["cancelled"]) == sorted(others)
    assert batch.status().counts == {JobState.CANCELLED: 3}
    assert cli.run_process("cancel", "monday", STT_REDIS_URL=redis_url).stdout == "0 jobs cancelled\n"
    told = cli.run("status", "monday", STT_REDIS_URL=redis_url).stdout
    assert told.endswith("to run them again: stt-batch retry monday\n")  # --failed does not retry cancelled jobs
    nobody = cli.run("cancel", one, "nobody", STT_REDIS_URL=redis_url)
    assert nobody.returncode == 2
    assert "nobody: no such job or batch" in nobody.stderr


def test_pause_and_resume_a_batch(cli: Cli, settings: Settings, batch: BatchHandle, redis_url: str) -> None:
    asyncio.run(act(settings, batch.jobs[0].id))
    assert cli.run("pause", "monday", STT_REDIS_URL=redis_url).stdout.endswith("3 jobs paused\n")
    assert batch.status().counts == {JobState.QUEUED: 3}
    assert cli.run("status", "monday", STT_REDIS_URL=redis_url).stdout.count("queued (paused)") == 3
    assert cli.json("pause", "monday", STT_REDIS_URL=redis_url) == {"paused": []}
    resumed = cli.run("resume", "monday", "--json", STT_REDIS_URL=redis_url)
    assert len(json.loads(resumed.stdout)["resumed"]) == 3
    assert not any(job.paused for job in batch.status().jobs)
    assert batch.jobs[0].status().commits == 1


def test_retry_continues_after_the_committed_text(
    cli: Cli, settings: Settings, batch: BatchHandle, redis_url: str
) -> None:
    failed, tail, rest = [job.id for job in batch.jobs]
    asyncio.run(act(settings, failed, failed="no line for an hour"))
    asyncio.run(act(settings, tail, gap=Gap(start=1.5, end=2.0, reason="never committed")))
    asyncio.run(act(settings, rest, gap=Gap(start=1.0, end=2.0, reason="given up")))
    shown = cli.run("status", failed, STT_REDIS_URL=redis_url).stdout
    assert "no line for an hour" in shown
    assert "the line broke" in shown
    assert any(line.split() == ["speed", "max"] for line in shown.splitlines())
    table = cli.run("status", "monday", STT_REDIS_URL=redis_url, COLUMNS="250").stdout
    assert "1.5–2.0 s missing: never committed" in table
    assert "monday: 3 jobs: 1 failed, 2 incomplete" in table

    retried = cli.run("retry", "--failed", "monday", "--json", STT_REDIS_URL=redis_url)
    assert sorted(json.loads(retried.stdout)["queued"]) == sorted([failed, tail, rest])
    kept = {job.id: job.commits for job in batch.status().jobs}
    assert kept == {failed: 1, tail: 1, rest: 1}
    assert batch.status().counts == {JobState.QUEUED: 3}
    assert cli.json("retry", "--failed", STT_REDIS_URL=redis_url) == {"queued": []}


def test_retry_without_names_is_wrong_usage(cli: Cli, redis_url: str) -> None:
    for arguments in (["retry"], ["retry", "--failed", "a", "b"]):
        done = cli.run(*arguments, STT_REDIS_URL=redis_url)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
