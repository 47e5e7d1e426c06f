"""A Redis server that closes a connection between two steps of a command is an outage, on every event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tasks.event_loop import new_event_loop
from worker.errors import LedgerUnavailable
from worker.ledger.connection import RedisConnection

Step = Callable[[Any], Awaitable[object]]


async def _write(redis: Any) -> object:
    return await redis.ping()


async def _write_many(redis: Any) -> object:
    return await redis.pipeline(transaction=False).get("a").get("b").execute()


async def _closed_before(url: str, step: Step, *, always: bool) -> object:
    """Run a command whose connection is closed, but not yet known to be closed: always, or only the first time."""
    connection = RedisConnection(url, retries=2)
    try:
        await connection.call(_write)
        (one,) = connection._pool._available_connections
        write = type(one)._send_packed_command
        left = [10**6 if always else 1]

        async def closed(command: Any) -> None:
            if left[0]:
                left[0] -= 1
                one._writer.transport.abort()
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await write(one, command)

        one._send_packed_command = closed
        return await connection.call(step)
    finally:
        await connection.close()


@pytest.mark.parametrize("loop", [new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
@pytest.mark.parametrize("step", [_write, _write_many])
def test_a_command_is_retried_after_its_connection_was_closed(redis_url: str, loop: Any, step: Step) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(_closed_before(redis_url, step, always=False)) in (True, [None, None])


@pytest.mark.parametrize("loop", [new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def test_connections_that_are_always_closed_are_an_outage(redis_url: str, loop: Any) -> None:
    with asyncio.Runner(loop_factory=loop) as runner, pytest.raises(LedgerUnavailable, match="does not answer"):
        runner.run(_closed_before(redis_url, _write, always=True))
