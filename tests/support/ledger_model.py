"""A stateful property test of the ledger: the real Lua scripts in a real Valkey, against a small model of jobs.

Each rule is one call. A crash may follow any call: calls of other workers, producers and operators run between any two
calls of a worker, leases expire at any time, answers are lost and calls repeated, and workers that lost their lease
still try to write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.support.samples_of import a_segment, a_transcript
from worker.errors import LeaseLost
from worker.job_progress import Progress
from worker.ledger.connection import RedisConnection
from worker.ledger.consistency import LedgerCheck
from worker.ledger.lease import Lease
from worker.ledger.ledger import JobState, Ledger, Refusal
from worker.settings import Settings
from worker.transcript.model import Gap

T = TypeVar("T")
JOBS: Final = ("a", "b", "c", "d")
BATCH_OF: Final = {"a": None, "b": None, "c": "x", "d": "x"}
MAX_TRIES: Final = 4
"""Attempts in a row without a commit after which the reaper fails a job."""
FAR_S: Final = 500.0
"""Delay of a postponed job, longer than a test."""
ENDED: Final = ("done", "incomplete", "failed", "cancelled")
QUEUED: Final = '{"source": "/audio/a.wav", "webhook": "https://hooks.example/a"}'


class LedgerWorld:
    """The server and the event loop that all examples of one test share."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.runner = asyncio.Runner()
        self.raw = redis.Redis.from_url(settings.redis_url, decode_responses=True)
        self.ledger = Ledger(settings)
        self.connection = RedisConnection(settings.redis_url)
        self.steps = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def close(self) -> None:
        self.run(self.ledger.close())
        self.run(self.connection.close())
        self.runner.close()
        self.raw.close()


@dataclass
class JobModel:
    """The expected record of one job, by the rules of docs/explanation/ledger.md."""

    state: str = "queued"
    epoch: int = 1
    listed: str = "queue"
    """`queue` or `delayed`; empty if the job is in neither."""
    due: bool = False
    """Whether the delay of a job in `delayed` is over."""
    paused: bool = False
    lapsed: bool = False
    """Whether the lease of a running job has expired."""
    tries: int = 0
    commits: list[str] = field(default_factory=list)
    transcript: bool = False

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def queue(self, *, delayed: bool = False) -> None:
        self.state, self.lapsed, self.due = "queued", False, False
        self.listed = "" if self.paused else "delayed" if delayed else "queue"

    def end(self, state: str) -> None:
        self.state, self.listed, self.paused, self.lapsed, self.due = state, "", False, False, False


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self, world: LedgerWorld) -> None:
        super().__init__()
        self.world, self.ledger = world, world.ledger
        world.raw.flushall()
        self.jobs: dict[str, JobModel] = {}
        self.leases: list[Lease] = []
        """Leases that workers use, including lost ones whose workers have not noticed it."""
        self.owners: dict[tuple[str, int], Lease] = {}
        self.paused_batch = False
        self.touched: set[str] = set()
        self.serial = 0

    # -- helpers -----------------------------------------------------------------------------------------------------

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        self.world.steps += 1
        return self.world.run(work)

    def name(self, kind: str) -> str:
        self.serial += 1
        return f"{kind}{self.serial}"

    def write(self, lease: Lease, work: Coroutine[Any, Any, T]) -> bool:
        """Call a method of a lease. It must succeed exactly when this lease owns the job. Returns whether it does."""
        self.touched.add(lease.job_id)
        job = self.jobs[lease.job_id]
        owns = job.state == "running" and job.epoch == lease.epoch
        try:
            self.call(work)
        except LeaseLost:
            assert not owns, f"{lease.job_id}: the owner was refused"
            self.leases = [one for one in self.leases if one is not lease]
            return False
        assert owns, f"{lease.job_id}: a worker wrote with epoch {lease.epoch}, the epoch is {job.epoch}"
        return True

    def lease(self, number: int) -> Lease:
        return self.leases[number % len(self.leases)]

    def take(self, found: Lease | Refusal, *, remembered: bool) -> None:
        """Check a lease that a worker got. `remembered`: False if the worker crashed before it read the answer."""
        assert isinstance(found, Lease), found
        job = self.jobs[found.job_id]
        self.touched.add(found.job_id)
        assert not job.paused
        takeable = job.listed == "queue" or (job.listed == "delayed" and job.due)
        assert takeable if job.state == "queued" else job.state == "running" and job.lapsed, job
        assert found.epoch == job.epoch + 1
        assert self.owners.setdefault((found.job_id, found.epoch), found) is found, "two owners of one epoch"
        assert found.commits == len(job.commits)
        assert found.transcribed == job.transcript
        job.state, job.epoch, job.listed, job.lapsed, job.tries = "running", found.epoch, "", False, job.tries + 1
        assert found.tries == job.tries
        if remembered:
            self.leases.append(found)

    def refusal(self, job_id: str) -> Refusal | None:
        job = self.jobs.get(job_id)
        if job is None:
            return Refusal.MISSING
        if job.ended:
            return Refusal.ENDED
        if job.state == "running":
            return None if job.lapsed else Refusal.HELD
        if job.paused:
            return Refusal.PAUSED
        return Refusal.DELAYED if job.listed == "delayed" and not job.due else None

    # -- producers and operators ---------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        self.create("a", force=False)

    @rule(job_id=st.sampled_from(JOBS), force=st.booleans())
    def create(self, job_id: str, force: bool) -> None:
        before = self.jobs.get(job_id)
        batch = BATCH_OF[job_id]
        created = self.call(self.ledger.create(job_id, QUEUED, batch=batch, force=force))
        self.touched.add(job_id)
        assert created.before == (before and before.state)
        if before is not None and (not before.ended or (before.state == "done" and not force)):
            assert created.state == before.state
            return
        job = JobModel(epoch=1 if before is None else before.epoch + 1)
        job.paused = self.paused_batch and batch is not None
        if before is not None and before.state == "failed" and before.transcript and not force:
            job.commits, job.transcript = before.commits, True
        job.queue()
        self.jobs[job_id] = job

    @rule(job_id=st.sampled_from(JOBS))
    def cancel(self, job_id: str) -> None:
        changed = self.call(self.ledger.cancel(job_id))
        job = self.jobs.get(job_id)
        assert (changed is None) == (job is None)
        if job is not None and not job.ended:
            job.epoch += 1
            job.end("cancelled")
        self.touched.add(job_id)

    @rule(job_id=st.sampled_from(JOBS), on=st.booleans())
    def pause(self, job_id: str, on: bool) -> None:
        changed = self.call(self.ledger.pause([job_id], on=on))
        assert (changed == [job_id]) == self.paused_as(job_id, on)

    @rule(on=st.booleans())
    def pause_batch(self, on: bool) -> None:
        ids = [job_id for job_id in self.jobs if BATCH_OF[job_id]]
        changed = self.call(self.ledger.pause(ids, batch="x", on=on))
        self.paused_batch = on
        assert changed == [job_id for job_id in ids if self.paused_as(job_id, on)]

    def paused_as(self, job_id: str, on: bool) -> bool:
        """Pause or resume in the model. Returns whether the job changes."""
        self.touched.add(job_id)
        job = self.jobs.get(job_id)
        if job is None or job.ended or job.paused == on:
            return False
        if job.state == "running":
            job.epoch += 1
            job.tries = max(0, job.tries - 1)
        job.paused = on
        job.queue()
        return True

    @rule(job_id=st.sampled_from(JOBS), keep=st.booleans())
    def retry(self, job_id: str, keep: bool) -> None:
        self.call(self.ledger.retry(job_id, keep_commits=keep))
        self.touched.add(job_id)
        job = self.jobs.get(job_id)
        if job is None or job.state not in ("failed", "incomplete", "cancelled"):
            return
        if not keep or job.state == "incomplete":
            job.transcript = False
        if not keep:
            job.commits = []
        job.epoch, job.tries = job.epoch + 1, 0
        job.queue()

    # -- workers -------------------------------------------------------------------------------------------------------

    @rule(job_id=st.sampled_from(JOBS), crash=st.booleans())
    def acquire(self, job_id: str, crash: bool) -> None:
        expected = self.refusal(job_id)
        found = self.call(self.ledger.acquire(job_id, self.name("owner")))
        if expected is not None:
            assert found is expected
            return
        self.take(found, remembered=not crash)

    @rule(job_id=st.sampled_from(JOBS), crash=st.booleans(), repeat=st.booleans())
    def acquire_next(self, job_id: str, crash: bool, repeat: bool) -> None:
        owner, waiting = self.name("owner"), [one for one, job in self.jobs.items() if job.listed == "queue"]
        expected = None if waiting else self.refusal(job_id)
        found = self.call(self.ledger.acquire_next(job_id, owner))
        if expected is not None:
            assert found is expected
            return
        assert isinstance(found, Lease)
        assert found.job_id in (waiting or [job_id])
        self.take(found, remembered=not crash)
        if repeat:  # the answer was lost: the same owner asks again, and gets the same lease
            again = self.call(self.ledger.acquire(found.job_id, owner))
            assert isinstance(again, Lease)
            assert (again.epoch, again.attempts, again.tries) == (found.epoch, found.attempts, found.tries)

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 50))
    def crash(self, number: int) -> None:
        lease = self.lease(number)
        self.leases = [one for one in self.leases if one is not lease]

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 50), how=st.sampled_from(["renew", "progress", "plan"]))
    def renew(self, number: int, how: str) -> None:
        lease = self.lease(number)
        works = {"renew": lease.renew, "progress": lambda: lease.progress(Progress(9, 1, 0, "t")),
                 "plan": lambda: lease.record_content('{"sha256": "x"}', "")}  # fmt: skip
        if self.write(lease, works[how]()):
            self.jobs[lease.job_id].lapsed = False

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 50), repeat=st.booleans())
    def commit(self, number: int, repeat: bool) -> None:
        lease, text = self.lease(number), self.name("text")
        if not self.write(lease, lease.commit(a_segment(text))):
            return
        job = self.jobs[lease.job_id]
        job.commits.append(text)
        job.tries, job.lapsed = 0, False
        if repeat:  # the answer was lost
            lease.commits -= 1
            assert self.write(lease, lease.commit(a_segment(text)))

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 50))
    def store_transcript(self, number: int) -> None:
        lease = self.lease(number)
        if self.write(lease, lease.store_transcript(a_transcript(lease.job_id))):
            job = self.jobs[lease.job_id]
            job.transcript, job.tries, job.lapsed = True, 0, False

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 50), state=st.sampled_from(["done", "incomplete", "failed"]), repeat=st.booleans())
    def finish(self, number: int, state: str, repeat: bool) -> None:
        lease = self.lease(number)
        self.touched.add(lease.job_id)
        job = self.jobs[lease.job_id]
        same = (job.state, job.epoch) == (state, lease.epoch)
        for again in range(2 if repeat else 1):
            if same or again:
                self.call(self._finish(lease, state))  # the first answer was lost; the job has ended already
            elif self.write(lease, self._finish(lease, state)):
                job.end(state)
                job.transcript = job.transcript or state != "failed"
            else:
                return

    @staticmethod
    async def _finish(lease: Lease, state: str) -> None:
        if state == "failed":
            await lease.fail("source_damaged", "no audio")
            return
        transcript = a_transcript(lease.job_id)
        missing = () if state == "done" else (Gap(start=1.0, end=2.0, reason="the session broke"),)
        covered = transcript.coverage.model_copy(update={"missing": missing})
        await lease.finish(transcript.model_copy(update={"coverage": covered}), [])

    @precondition(lambda self: self.leases)
    @rule(
        number=st.integers(0, 50), counted=st.sampled_from([True, False, "unread", "shortages"]), restart=st.booleans()
    )
    def postpone(self, number: int, counted: Any, restart: bool) -> None:
        lease = self.lease(number)
        if self._already_queued(lease):
            self.call(lease.postpone(FAR_S))
        elif self.write(lease, lease.postpone(FAR_S, "x", "later", counted=counted, restart=restart)):
            job = self.jobs[lease.job_id]
            job.tries = job.tries if counted is True else max(0, job.tries - 1)
            job.commits = [] if restart else job.commits
            job.queue(delayed=True)

    @precondition(lambda self: self.leases)
    @rule(number=st.integers(0, 50))
    def release(self, number: int) -> None:
        lease = self.lease(number)
        if self._already_queued(lease):
            self.call(lease.release())
        elif self.write(lease, lease.release()):
            job = self.jobs[lease.job_id]
            job.tries = max(0, job.tries - 1)
            job.queue()

    def _already_queued(self, lease: Lease) -> bool:
        """Whether this worker has requeued the job before: the repeated call succeeds and changes nothing."""
        job = self.jobs[lease.job_id]
        return job.state == "queued" and job.epoch == lease.epoch

    # -- time ----------------------------------------------------------------------------------------------------------

    @rule(job_id=st.sampled_from(JOBS))
    def lapse(self, job_id: str) -> None:
        """The lease of a running job expires."""
        job = self.jobs.get(job_id)
        if job is not None and job.state == "running":
            self.world.raw.hset(f"stt:job:{job_id}", "lease", "1")
            self.world.raw.zadd("stt:leases", {job_id: 1})
            job.lapsed = True

    @rule(job_id=st.sampled_from(JOBS))
    def delay_ends(self, job_id: str) -> None:
        job = self.jobs.get(job_id)
        if job is not None and job.listed == "delayed":
            self.world.raw.zadd("stt:delayed", {job_id: 1})
            job.due = True

    @rule()
    def reap(self) -> None:
        found = self.call(self.ledger.reap("stt", tries=MAX_TRIES, delay_s=FAR_S))
        lapsed = {one for one, job in self.jobs.items() if job.state == "running" and job.lapsed}
        due = {one for one, job in self.jobs.items() if job.listed == "delayed" and job.due}
        failed = {one for one in lapsed if self.jobs[one].tries >= MAX_TRIES}
        assert set(found.given_up) == failed
        assert set(found.expired) == lapsed - failed
        assert not found.unreadable
        assert due <= set(found.send)
        self.touched |= lapsed | due
        for job_id in lapsed:
            job = self.jobs[job_id]
            job.epoch += 1
            if job_id in failed:
                job.end("failed")
            else:
                job.queue(delayed=job.tries > 2)
        for job_id in due:
            self.jobs[job_id].queue()

    # -- invariants after every call ----------------------------------------------------------------------------------

    @invariant()
    def sound(self) -> None:
        """The records are those of the model, no commit is lost or doubled, and one lease at most can write."""
        self.assert_sound(sorted(self.touched & self.jobs.keys()))
        self.touched.clear()

    def assert_sound(self, ids: Sequence[str]) -> None:
        self.world.run(self._assert_sound(ids))

    async def _assert_sound(self, ids: Sequence[str]) -> None:
        check = LedgerCheck(self.world.settings, self.world.connection)
        for job_id, record in zip(ids, await self.ledger.get_many(ids), strict=True):
            job = self.jobs[job_id]
            assert record is not None
            found = (record.state, record.epoch, record.paused, record.commits)
            assert found == (job.state, job.epoch, job.paused, len(job.commits)), (job_id, job)
            stored = [entry async for entry in self.ledger.commits(job_id)]
            texts = [entry.segment.split('"text":"')[1].split('"')[0] for entry in stored]
            assert texts == job.commits, job_id
            assert (await self.ledger.transcript(job_id) is not None) == job.transcript
            assert not await check.check_job(job_id)
            writers = [one for one in self.leases if one.job_id == job_id and one.epoch == job.epoch]
            assert len(writers) <= 1

    def teardown(self) -> None:
        """Every job ends or waits: with one worker that finishes its jobs, all jobs end."""
        self.assert_sound(sorted(self.jobs))
        for job_id, job in self.jobs.items():
            self.world.run(self.ledger.pause([job_id], batch=BATCH_OF[job_id], on=False))
            if job.state == "running":
                self.world.raw.hset(f"stt:job:{job_id}", "lease", "1")
                self.world.raw.zadd("stt:leases", {job_id: 1})
        for _ in range(3 * len(JOBS)):
            for job_id in self.world.raw.zrange("stt:delayed", 0, -1):
                self.world.raw.zadd("stt:delayed", {job_id: 1})
            self.world.run(self.ledger.reap("stt", tries=MAX_TRIES, delay_s=FAR_S))
            found = self.world.run(self.ledger.acquire_next("none", self.name("owner")))
            if isinstance(found, Lease):
                self.world.run(found.finish(a_transcript(found.job_id), []))
        records = self.world.run(self.ledger.get_many(sorted(self.jobs)))
        assert all(record is not None and JobState(record.state).ended for record in records)
        assert not self.world.run(self._all_problems())

    async def _all_problems(self) -> list[Any]:
        check = LedgerCheck(self.world.settings, self.world.connection)
        return [problem async for problem in check.problems()]
