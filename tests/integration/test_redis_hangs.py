"""A Redis that accepts connections and never answers, as during a suspension, a full disk or a lost host.

Each call, command and request reports it within its time limit.
"""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tasks.execution import redis_outage
from tests.support.api import api_settings, running_api
from tests.support.command_line import Cli, cli, write_audio
from tests.support.redis_server import Valkey
from tests.support.wait import allowed_s
from worker.errors import LedgerUnavailable
from worker.ledger.connection import CALL_LIMIT_S, RedisConnection
from worker.ledger.lease import Lease
from worker.ledger.ledger import Ledger
from worker.settings import load

__all__ = ["cli"]  # a fixture
LIMIT_S = 0.5


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[Valkey]:
    server = Valkey(tmp_path)
    yield server
    server.kill()


@pytest.mark.parametrize("stops", [True, False])
async def test_a_job_is_released_in_short_tries_so_that_a_worker_can_stop(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch, stops: bool
) -> None:
    """The limit of a running job's commands is a minute, longer than a shutdown may last."""
    monkeypatch.setattr(redis_outage, "RELEASE_TIMEOUT_S", LIMIT_S)
    ledger = Ledger(load({}, redis_url=valkey.url), limit_s=60)
    await ledger.create("a", '{"source": "/a.wav"}')
    lease = await ledger.acquire("a", "me")
    assert isinstance(lease, Lease)
    valkey.signal(signal.SIGSTOP)
    tries = []

    async def wait(_seconds: float) -> None:
        tries.append(time.monotonic())
        if len(tries) == 2 and not stops:
            valkey.signal(signal.SIGCONT)

    released = await redis_outage.release_after_outage(lease, wait, lambda: stops and len(tries) > 1)
    assert released is not stops
    assert tries[1] - tries[0] < allowed_s(LIMIT_S + 0.5)
    valkey.signal(signal.SIGCONT)
    record = await ledger.get("a")
    assert record is not None
    assert stops or record.state == "queued"
    await ledger.close()


@pytest.mark.parametrize("connected", [True, False])
async def test_each_kind_of_call_ends_within_its_limit(valkey: Valkey, connected: bool) -> None:
    connection = RedisConnection(valkey.url, limit_s=LIMIT_S)
    ledger = Ledger(load({}, redis_url=valkey.url), limit_s=LIMIT_S)
    if connected:
        await connection.call(lambda redis: redis.ping())
        await ledger.create("a", '{"source": "/a.wav"}')
    valkey.signal(signal.SIGSTOP)
    calls = {
        "command": lambda: connection.call(lambda redis: redis.get("a")),
        "pipeline": lambda: connection.pipeline(lambda pipeline: pipeline.get("a")),
        "script": lambda: connection.script("schema", ("leases", "queue"), (1, 1, 1)),
        "scripts": lambda: connection.script_many("schema", [(("leases", "queue"), (1, 1, 1))]),
        "record": lambda: ledger.get("a"),
        "creation": lambda: ledger.create("b", '{"source": "/b.wav"}'),
        "acquisition": lambda: ledger.acquire("a", "me"),
    }
    for name, call in calls.items():
        started = time.monotonic()
        with pytest.raises(LedgerUnavailable, match=r"Redis at .* does not answer within 0.5 s; it hangs"):
            await call()
        assert time.monotonic() - started < allowed_s(LIMIT_S + 0.5), name
    valkey.signal(signal.SIGCONT)
    await ledger.create("c", '{"source": "/c.wav"}')
    await connection.close()
    await ledger.close()


async def test_a_cancelled_call_is_cancelled_and_not_reported_as_an_outage(valkey: Valkey) -> None:
    connection = RedisConnection(valkey.url, limit_s=60)
    valkey.signal(signal.SIGSTOP)
    calling = asyncio.create_task(connection.call(lambda redis: redis.get("a")))
    await asyncio.sleep(0.1)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(calling, allowed_s(2))
    await connection.close()


async def test_the_limit_holds_although_a_client_library_loses_cancellations(redis_url: str) -> None:
    connection = RedisConnection(redis_url, limit_s=0.1)

    async def stubborn(_: object) -> None:
        for _ in range(3):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
        await asyncio.sleep(60)

    with pytest.raises(LedgerUnavailable, match=r"does not answer within 0.1 s"):
        await asyncio.wait_for(connection.call(stubborn), allowed_s(3))
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    connection._limit_s = 10
    await connection.call(lambda redis: redis.ping())
    await connection.close()


async def test_a_future_that_another_task_cancelled_is_an_outage_and_not_a_cancellation(redis_url: str) -> None:
    """A task that waits for a connection to close may cancel the future of another task. A task group would take the
    other task for finished, and its commits would be missing."""
    connection = RedisConnection(redis_url)

    async def closed(_: object) -> None:
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        await future

    with pytest.raises(LedgerUnavailable, match="the connection was closed during a command"):
        await connection.call(closed)
    await connection.close()


COMMANDS = (
    ("status",),
    ("status", "monday"),
    ("status", "--watch"),
    ("status", "--watch", "--json"),
    ("list",),
    ("submit", "a.wav"),
    ("cancel", "monday"),
    ("pause", "monday"),
    ("resume", "monday"),
    ("resume", "--key"),
    ("retry", "monday"),
    ("retry", "--failed"),
    ("export", "monday", "--out", "exported"),
    ("delete", "monday"),
    ("webhooks",),
    ("webhooks", "retry", "--all"),
    ("ledger", "check"),
    ("doctor",),
)


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_each_command_reports_a_redis_that_hangs(cli: Cli, valkey: Valkey) -> None:
    """Within CALL_LIMIT_S and the time of a start, each with the address and the remedy."""
    write_audio(cli.folder / "a.wav")
    valkey.signal(signal.SIGSTOP)
    started = time.monotonic()
    running = {command: cli.start(*command, STT_REDIS_URL=valkey.url) for command in COMMANDS}
    wrong = {}
    for command, process in running.items():
        out, err = process.communicate(timeout=allowed_s(CALL_LIMIT_S + 15))
        reported = re.search(r"Redis at \S+ does not answer", err + out) and "Traceback" not in err + out
        if process.returncode not in (1, 2) or not reported:
            wrong[command] = (process.returncode, out, err)
    assert not wrong
    assert time.monotonic() - started < allowed_s(CALL_LIMIT_S + 15)


@pytest.mark.chaos
async def test_each_request_to_the_api_reports_a_redis_that_hangs(valkey: Valkey, tmp_path: Path) -> None:
    async with running_api(api_settings(valkey.url, tmp_path)) as api:
        job = (await api.upload())["id"]
        valkey.signal(signal.SIGSTOP)
        paths = ("jobs", f"jobs/{job}", f"jobs/{job}/transcript", "batches/monday", "stats", "webhooks")
        started = time.monotonic()
        answers = await asyncio.gather(*(api.boss.get(f"/v1/{path}", timeout=60) for path in paths))
        assert {path: answer.status_code for path, answer in zip(paths, answers, strict=True)} == dict.fromkeys(
            paths, 503
        )
        assert time.monotonic() - started < allowed_s(CALL_LIMIT_S + 5)
        valkey.signal(signal.SIGCONT)
