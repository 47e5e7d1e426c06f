"""A transcript whose files cannot be written stays in the ledger; the next attempt only writes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tasks.execution.message_handler import MessageHandler, Outcome
from tests.support.fleet import assert_every_key_ends
from tests.support.ports import free_port
from tests.support.s3_server import BUCKET, S3Server
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import async_wait_until
from worker.ledger.ledger import JobRecord, JobState, Ledger
from worker.pipeline.job import Job
from worker.settings import Settings, load
from worker.storage import object_store
from worker.transcript.model import Transcript


@pytest.fixture(autouse=True)
def credentials(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(object_store._RETRY, "max_retries", 0)
    object_store._store_of.cache_clear()


class Scene:
    """A ledger with one job whose outputs fail. `away`: settings with which the object store does not answer. `runs`:
    number of runs of the pipeline."""

    def __init__(self, redis_url: str, s3: S3Server) -> None:
        self.settings = load(
            {"STT_S3_ENDPOINT": s3.endpoint}, redis_url=redis_url, job_backoff_s=0.1, output_attempts=3
        )
        self.away = self.settings.model_copy(update={"s3_endpoint": f"http://127.0.0.1:{free_port()}"})
        self.ledger = Ledger(self.settings)
        self.runs = 0

    async def create(self, out_dir: str) -> None:
        await self.ledger.create("a", f'{{"source": "/audio/a.wav", "out_dir": {out_dir}}}')

    async def perform(self, settings: Settings) -> Outcome:
        async def pipeline(job: Job, *, settings: Settings, log: Any, listener: Any, slots: Any) -> Transcript:
            self.runs += 1
            await log.commit(a_segment())
            return a_transcript(job.id)

        return await MessageHandler(settings, self.ledger, pipeline).perform("a", None)

    async def again(self, settings: Settings) -> Outcome:
        """Make the next attempt at once, without the usual pause."""
        outcomes: list[Outcome] = []

        async def performed() -> bool:
            outcomes.append(await self.perform(settings))
            return outcomes[-1] is not Outcome.SKIPPED

        await async_wait_until(performed, "the pause is over", poll_s=0.05)
        return outcomes[-1]

    async def record(self) -> JobRecord:
        record = await self.ledger.get("a")
        assert record is not None
        return record


@pytest.fixture
async def scene(redis_url: str, s3: S3Server) -> AsyncIterator[Scene]:
    scene = Scene(redis_url, s3)
    yield scene
    await scene.ledger.close()
    await asyncio.to_thread(assert_every_key_ends, redis_url)


async def test_a_store_that_is_away_costs_a_pause_and_not_the_transcript(scene: Scene, tmp_path: Path) -> None:
    await scene.create(f'["{tmp_path}/out", "s3://{BUCKET}/later"]')
    assert await scene.perform(scene.away) is Outcome.POSTPONED
    record = await scene.record()
    assert (record.state, record.error_code) == (JobState.QUEUED, "output_unavailable")
    assert f"cannot write s3://{BUCKET}/later/a.json" in (record.error or "")
    assert (tmp_path / "out" / "a.json").exists()  # the other place has it
    kept = await scene.ledger.transcript("a")
    assert kept is not None
    assert Transcript.model_validate_json(kept) == a_transcript("a")

    assert await scene.again(scene.settings) is Outcome.ENDED
    record = await scene.record()
    assert (record.state, record.error_code, record.commits) == (JobState.DONE, None, 1)
    assert record.outputs == (f"{tmp_path}/out/a.json", f"s3://{BUCKET}/later/a.json")
    assert scene.runs == 1


async def test_when_it_stays_away_the_job_fails_and_keeps_its_transcript(scene: Scene) -> None:
    await scene.create(f'"s3://{BUCKET}/never"')
    outcomes = [await scene.perform(scene.away)]
    while outcomes[-1] is Outcome.POSTPONED:
        outcomes.append(await scene.again(scene.away))
    assert len(outcomes) == 1 + 3  # the one that transcribed, and STT_OUTPUT_ATTEMPTS
    record = await scene.record()
    assert (record.state, record.error_code) == (JobState.FAILED, "output_unavailable")
    assert await scene.ledger.transcript("a") is not None
    assert scene.runs == 1


@pytest.mark.parametrize("way", ["retry", "submit"])
async def test_a_failed_one_that_is_asked_for_again_only_writes(
    scene: Scene, tmp_path: Path, redis_url: str, way: str
) -> None:
    (tmp_path / "out").touch()  # a file where the folder should be
    out_dir = f'"{tmp_path}/out"'
    await scene.create(out_dir)
    assert await scene.perform(scene.settings) is Outcome.ENDED
    record = await scene.record()
    assert (record.state, record.error_code) == (JobState.FAILED, "output")
    with redis.Redis.from_url(redis_url) as raw:
        assert raw.ttl("stt:job:a:transcript") <= scene.settings.result_ttl.total_seconds()
    (tmp_path / "out").unlink()
    if way == "retry":
        await scene.ledger.retry("a")
    else:
        await scene.create(out_dir)
    assert (await scene.record()).state is JobState.QUEUED
    assert await scene.perform(scene.settings) is Outcome.ENDED
    assert (await scene.record()).state is JobState.DONE
    assert (tmp_path / "out" / "a.json").exists()
    assert scene.runs == 1
    assert (await scene.record()).commits == 1


async def test_from_the_start_is_from_the_start(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    await scene.create(f'"{tmp_path}/out"')
    await scene.perform(scene.settings)
    await scene.ledger.retry("a", keep_commits=False)
    assert await scene.ledger.transcript("a") is None
    (tmp_path / "out").unlink()
    await scene.perform(scene.settings)
    assert (await scene.record()).state is JobState.DONE
    assert scene.runs == 2


async def test_where_nothing_may_be_written(scene: Scene, tmp_path: Path) -> None:
    strict = scene.settings.model_copy(update={"allowed_outputs": f"{tmp_path}/results"})
    await scene.create(f'"{tmp_path}/elsewhere"')
    assert await scene.perform(strict) is Outcome.ENDED
    record = await scene.record()
    assert record.error_code == "output"
    assert "STT_ALLOWED_OUTPUTS" in (record.error or "")
    assert not (tmp_path / "elsewhere").exists()
