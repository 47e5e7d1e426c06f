"""The circuit breaker of an API key: jobs stay queued while the service refuses the key, and few handshakes are tried.

The clock of the breaker is virtual: `Clock.advance` moves the stored times into the past."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from tasks.execution.message_handler import MessageHandler, Outcome
from tests.support.samples_of import a_segment, a_transcript
from tests.support.wait import allowed_s, async_wait_until
from worker.errors import AccessRefused, AccountRefused, AuthRefused, EndpointUnavailable, PermissionRefused
from worker.ledger import key_breaker
from worker.ledger.connection import RedisConnection
from worker.ledger.event_stream import EventStream
from worker.ledger.key_breaker import MAX_HANDSHAKES_PER_HOUR, KeyBreaker, paused_keys
from worker.ledger.ledger import JobState, Ledger
from worker.pipeline.job import Job
from worker.realtime.slots import Slots
from worker.settings import Settings, load
from worker.transcript.model import Transcript
from worker.webhooks.outbox import Outbox

SECRET = "the-very-secret-key"
SPEC = '{"source": "/audio/a.wav", "speed": "max"}'


class Clock:
    """The virtual clock of the breakers in Redis."""

    def __init__(self, raw: redis.Redis) -> None:
        self.raw = raw
        self.s = 0.0

    def advance(self, seconds: float) -> None:
        self.s += seconds
        for key in self.raw.scan_iter("stt:breaker:*"):
            if self.raw.type(key) == "zset":
                for member, score in self.raw.zrange(key, 0, -1, withscores=True):
                    self.raw.zadd(key, {member: score - seconds * 1000})
            else:
                for name in ("since", "next", "probe_until", "closed"):
                    if value := self.raw.hget(key, name):
                        self.raw.hset(key, name, f"{float(value) - seconds * 1000:.0f}")


class Service:
    """A service whose account has credit or not. Counts its handshakes by hours of the virtual clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.refusal: AccessRefused | None = None
        self.handshakes: list[tuple[float, bool]] = []
        self.sessions = 1  # of each job

    async def pipeline(self, job: Job, *, settings: Any, log: Any, listener: Any, slots: Slots) -> Transcript:
        del settings, listener
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.sessions):
                    group.create_task(self.session(job, log, slots))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return a_transcript(job.id)

    async def session(self, job: Job, log: Any, slots: Slots) -> None:
        async with slots.slot(job.id):
            refusal = self.refusal  # decided at the handshake: a test may change it as soon as it sees the handshake
            self.handshakes.append((self.clock.s, refusal is None))
            await asyncio.sleep(0)
            if refusal is not None:
                raise refusal.with_text(str(refusal))
            await log.commit(a_segment())
            await slots.succeeded(job.id)

    @property
    def refused(self) -> int:
        return sum(not accepted for _, accepted in self.handshakes)

    def most_per_hour(self) -> int:
        """Return the maximum number of refused handshakes in any hour."""
        times = [at for at, accepted in self.handshakes if not accepted]
        return max((sum(at <= other < at + 3600 for other in times) for at in times), default=0)


class Workers:
    """Message handlers with their own connections to one Redis, a queue of messages, and the search for lost jobs."""

    def __init__(self, settings: Settings, service: Service) -> None:
        self.settings, self.service = settings, service
        self.messages: asyncio.Queue[str] = asyncio.Queue()
        self.ledger = Ledger(settings)
        self.handlers: list[MessageHandler] = []
        self.connections: list[RedisConnection] = []
        self._tasks: list[asyncio.Task[None]] = []

    def add(self, *, parallel: int = 2, pauses: bool = True) -> MessageHandler:
        connection = RedisConnection(self.settings.redis_url)
        breaker = KeyBreaker(self.settings, connection) if pauses else None
        events = EventStream(self.settings, connection)
        handler = MessageHandler(self.settings, self.ledger, self.service.pipeline, events=events, breaker=breaker)
        self.connections.append(connection)
        self.handlers.append(handler)
        self._tasks += [asyncio.create_task(self._work(handler)) for _ in range(parallel)]
        return handler

    async def _work(self, handler: MessageHandler) -> None:
        while True:
            if await handler.perform(await self.messages.get(), None) is Outcome.REQUEUED:
                return

    async def reap(self) -> None:
        while True:
            found = await self.ledger.reap("stt", tries=5, delay_s=1)
            for job_id in found.send:
                self.messages.put_nowait(job_id)
            await asyncio.sleep(0.05)

    async def submit(self, count: int) -> list[str]:
        ids = [f"job-{number}" for number in range(count)]
        await self.ledger.create_many([(job_id, SPEC) for job_id in ids])
        for job_id in ids:
            self.messages.put_nowait(job_id)
        self._tasks.append(asyncio.create_task(self.reap()))
        return ids

    async def states(self, ids: list[str]) -> Counter[JobState]:
        return Counter(record.state for record in await self.ledger.get_many(ids) if record is not None)

    async def close(self) -> None:
        for handler in self.handlers:
            handler.drain()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self.connections:
            await connection.close()
        await self.ledger.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.execution.key_gate.POLL_S", 0.02)
    monkeypatch.setattr("tasks.execution.message_handler.KEY_PAUSE_S", 0.001)


@asynccontextmanager
async def fleet(redis_url: str, raw: redis.Redis, **changes: Any) -> AsyncIterator[tuple[Workers, Service, Clock]]:
    clock = Clock(raw)
    service = Service(clock)
    workers = Workers(load({}, redis_url=redis_url, api_key=SECRET, allowed_sources="*", **changes), service)
    try:
        yield workers, service, clock
    finally:
        await workers.close()


async def probes(service: Service, clock: Clock, hours: float, step_s: float = 60.0) -> None:
    """Let the virtual time pass, with time for the workers in each step."""
    for _ in range(int(hours * 3600 / step_s)):
        clock.advance(step_s)
        await asyncio.sleep(0.06)


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.chaos)])
async def test_jobs_survive_a_night_without_credit(redis_url: str, raw: redis.Redis, count: int) -> None:
    hours = 2 if count == 100 else 10
    async with fleet(redis_url, raw) as (workers, service, clock):
        for _ in range(3):
            workers.add()
        ids = await workers.submit(count)
        await async_wait_until(lambda: len(service.handshakes) >= count // 5, "a fifth of the jobs ran")
        service.refusal = AccountRefused("the account has no credit (HTTP 402: Insufficient credits)")
        await async_wait_until(lambda: bool(raw.zcard("stt:breakers")), "the key is paused")
        await probes(service, clock, hours, step_s=120.0)
        states = await workers.states(ids)
        assert set(states) <= {JobState.QUEUED, JobState.RUNNING, JobState.DONE}
        assert states[JobState.QUEUED] + states[JobState.RUNNING] > count / 2
        assert service.most_per_hour() <= MAX_HANDSHAKES_PER_HOUR
        assert service.refused >= 2 * hours, "probes continue"
        waiting = [record for record in await workers.ledger.get_many(ids) if record and record.error]
        assert waiting
        assert all("Insufficient credits" in (record.error or "") for record in waiting)
        service.refusal = None
        await probes(service, clock, 0.5, step_s=120.0)

        async def all_done() -> bool:
            return (await workers.states(ids))[JobState.DONE] == count

        await async_wait_until(all_done, "all jobs are done", timeout_s=120)
        assert not raw.zcard("stt:breakers")
        attempts = [record.attempts for record in await workers.ledger.get_many(ids) if record]
        assert max(attempts) == 1, "the refusals are not counted as attempts"


async def test_the_pauses_grow_and_stay_below_the_maximum(redis_url: str, raw: redis.Redis) -> None:
    connection, clock = RedisConnection(redis_url), Clock(raw)
    breaker = KeyBreaker(load({}, redis_url=redis_url, api_key=SECRET), connection)
    error = AuthRefused("refused")
    await breaker.refused(error, jitter=1.0)
    times: list[float] = []
    while clock.s < 5 * 3600:
        clock.advance(60)
        state = await breaker.check("probe")
        if state.probe:
            times.append(clock.s)
            await breaker.refused(error, "probe", jitter=1.0)
    pauses = [b - a for a, b in zip([0.0, *times], times, strict=False)]
    assert pauses[:5] == pytest.approx([60, 120, 240, 480, 960], abs=1)
    assert max(pauses) <= key_breaker.MAX_PAUSE_S
    assert max(sum(at <= other < at + 3600 for other in times) for at in times) <= 9
    await connection.close()


async def test_a_flapping_account_stays_within_the_budget(redis_url: str, raw: redis.Redis) -> None:
    """Each probe succeeds, and the next session is refused. The pauses continue to grow, and the number of handshakes
    per hour stays within its maximum."""
    connection, clock = RedisConnection(redis_url), Clock(raw)
    breaker = KeyBreaker(load({}, redis_url=redis_url, api_key=SECRET), connection)
    tried: list[float] = []
    for _ in range(5 * 60):
        clock.advance(60)
        state = await breaker.check("probe")
        if state.probe:
            tried.append(clock.s)
            await breaker.succeeded("probe")
            state = await breaker.check()
        if not state.paused:
            tried.append(clock.s)
            await breaker.refused(AccountRefused("no credit"), jitter=0.0)
    assert max(sum(at <= other < at + 3600 for other in tried) for at in tried) <= MAX_HANDSHAKES_PER_HOUR + 1
    await connection.close()


async def test_only_one_worker_gets_the_probe(redis_url: str, raw: redis.Redis) -> None:
    connection, clock = RedisConnection(redis_url), Clock(raw)
    breaker = KeyBreaker(load({}, redis_url=redis_url, api_key=SECRET), connection)
    await breaker.refused(AuthRefused("x"), jitter=1.0)
    assert not (await breaker.check("early")).probe
    clock.advance(61)
    answers = await asyncio.gather(*(breaker.check(f"token-{number}") for number in range(20)))
    assert sum(state.probe for state in answers) == 1
    token = f"token-{next(number for number, state in enumerate(answers) if state.probe)}"
    assert (await breaker.check(token)).probe, "a repeated request gets the same answer"
    assert not (await breaker.succeeded("another")).changed, "a zombie cannot resume the key"
    clock.advance(key_breaker.PROBE_S + 1)
    assert (await breaker.check("later")).probe, "its worker died"
    assert not (await breaker.succeeded(token)).changed
    assert (await breaker.succeeded("later")).changed
    assert not (await breaker.check()).paused
    await connection.close()


@pytest.mark.parametrize("error", [AuthRefused("key"), PermissionRefused("permission"), AccountRefused("account")])
async def test_each_refusal_pauses_and_resume_forces_a_probe(
    redis_url: str, raw: redis.Redis, error: AccessRefused
) -> None:
    async with fleet(redis_url, raw) as (workers, service, _):
        service.refusal = error
        workers.add()
        (job_id,) = await workers.submit(1)
        await async_wait_until(lambda: bool(raw.zcard("stt:breakers")), "the key is paused")

        async def queued() -> bool:
            record = await workers.ledger.get(job_id)
            return record is not None and (record.state, record.error_code) == (JobState.QUEUED, error.code)

        await async_wait_until(queued, "the job is queued with the reason")
        (state,) = await paused_keys(workers.settings, workers.connections[0])
        assert (state.code, state.reason, state.failures) == (error.code, str(error), 1)
        service.refusal = None
        await asyncio.sleep(0.3)
        assert len(service.handshakes) == 1
        assert (await KeyBreaker(workers.settings, workers.connections[0]).force()).changed

        async def done() -> bool:
            return (await workers.states([job_id]))[JobState.DONE] == 1

        await async_wait_until(done, "the job is done")
        events = [fields["event"] for _, fields in raw.xrange("stt:events")]
        assert [name for name in events if name.startswith("key_")] == ["key_paused", "key_resumed"]


async def test_a_probe_opens_one_session_even_of_a_job_with_several_sections(redis_url: str, raw: redis.Redis) -> None:
    async with fleet(redis_url, raw) as (workers, service, clock):
        service.refusal = AccountRefused("no credit")
        workers.add(parallel=3)
        await workers.submit(3)
        await async_wait_until(lambda: bool(raw.zcard("stt:breakers")), "the key is paused")
        await asyncio.sleep(0.2)
        service.sessions, before = 5, len(service.handshakes)
        clock.advance(61)
        await async_wait_until(lambda: len(service.handshakes) > before, "a probe")
        await asyncio.sleep(0.3)
        assert len(service.handshakes) == before + 1


async def test_a_probe_without_a_result_gives_its_right_back(redis_url: str, raw: redis.Redis) -> None:
    """The probe fails for a reason that has nothing to do with the key. The job is retried as usual, and another probe
    follows."""
    async with fleet(redis_url, raw) as (workers, service, clock):
        service.refusal = AccountRefused("no credit")
        workers.add()
        ids = await workers.submit(2)
        await async_wait_until(lambda: bool(raw.zcard("stt:breakers")), "the key is paused")
        await asyncio.sleep(0.2)
        service.refusal = EndpointUnavailable("HTTP 502")  # type: ignore[assignment]
        before = len(service.handshakes)
        clock.advance(61)
        await async_wait_until(lambda: len(service.handshakes) > before, "a probe")
        service.refusal = None
        await asyncio.sleep(0.2)
        assert raw.zcard("stt:breakers")
        clock.advance(61)

        async def one_done() -> bool:
            return (await workers.states(ids))[JobState.DONE] >= 1

        await async_wait_until(one_done, "the next probe resumes the key")


async def test_a_draining_worker_does_not_wait_for_the_key(redis_url: str, raw: redis.Redis) -> None:
    async with fleet(redis_url, raw) as (workers, service, _):
        service.refusal = AuthRefused("no")
        handler = workers.add(parallel=0)
        await workers.ledger.create("a", SPEC)
        assert await handler.perform("a", None) is Outcome.POSTPONED
        waiting = asyncio.create_task(handler.perform("a", None))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        handler.drain()
        assert await asyncio.wait_for(waiting, allowed_s(2)) is Outcome.REQUEUED


async def test_a_single_run_ends_at_once_with_the_reason(redis_url: str, raw: redis.Redis) -> None:
    async with fleet(redis_url, raw) as (workers, service, _):
        service.refusal = AuthRefused("API key refused")
        workers.add(parallel=1, pauses=False)
        ids = await workers.submit(20)

        async def all_failed() -> bool:
            return (await workers.states(ids))[JobState.FAILED] == 20

        await async_wait_until(all_failed, "all jobs have failed")
        assert len(service.handshakes) == 1
        assert {r.error for r in await workers.ledger.get_many(ids) if r} == {"API key refused"}
        assert not raw.zcard("stt:breakers")


async def test_no_redis_key_contains_the_api_key_and_every_key_expires(redis_url: str, raw: redis.Redis) -> None:
    async with fleet(redis_url, raw, alert_webhook="https://ops.example/hook") as (workers, service, _):
        service.refusal = AuthRefused("no")
        workers.add()
        await workers.submit(2)
        await async_wait_until(lambda: bool(raw.zcard("stt:breakers")), "the key is paused")
        other = KeyBreaker(load({}, redis_url=redis_url, api_key="another"), workers.connections[0])
        assert not (await other.check()).paused
        for key in raw.scan_iter("stt:*"):
            assert "secret" not in key
            assert raw.ttl(key) > 0, key
        (message,) = await Outbox(workers.settings, workers.connections[0]).list_messages(dead=False)
        body = json.loads(message.body)
        assert (body["type"], body["data"]["error_code"], body["data"]["error"]) == ("key.paused", "auth_refused", "no")
        assert message.to == "https://ops.example/hook"
        assert SECRET not in str(body)


async def test_a_replaced_key_is_paused_only_while_jobs_wait_and_expires(redis_url: str, raw: redis.Redis) -> None:
    async with fleet(redis_url, raw) as (workers, _, _clock):
        connection = RedisConnection(redis_url)
        breaker = KeyBreaker(workers.settings, connection)
        await breaker.refused(AuthRefused("no"), jitter=0.5)
        assert len(await paused_keys(workers.settings, connection)) == 1
        key = f"stt:breaker:{breaker.name}"
        raw.hset(key, "used", 1000)
        assert await paused_keys(workers.settings, connection) == [], "no worker uses it and no job waits"
        await workers.ledger.create("a", SPEC)
        raw.pexpire(key, 60_000)
        (state,) = await paused_keys(workers.settings, connection)
        assert raw.pttl(key) <= 60_000, "a display extends no lifetime"
        assert "next probe at" in key_breaker.paused_text(state)
        forced = await breaker.force()
        assert "a probe is due" in key_breaker.paused_text(forced)
        assert "00:00:00" not in key_breaker.paused_text(forced)
        raw.zremrangebyrank("stt:queue", 0, -1)
        raw.hset(key, "used", 1000)
        assert await paused_keys(workers.settings, connection) == []
        await breaker.check()
        assert len(await paused_keys(workers.settings, connection)) == 1, "a worker uses it"
        assert raw.pttl(key) > 60_000
        await connection.close()
