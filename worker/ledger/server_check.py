"""Checks the kind and the role of a server right after a connection to it was made.

The command HELLO answers both questions. Every user may call it, whatever the ACL says. Servers before Redis 6 do not
know it; then nothing is checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AuthenticationError, ConnectionError, RedisError, ResponseError

from worker.redis_url import CLUSTER_UNSUPPORTED, SENTINEL_AS_REDIS


class UnsupportedServer(RedisError):
    """The server is of a kind that this program cannot use. The text names the kind and the remedy."""


async def set_up(connection: AbstractConnection) -> None:
    """Log in, select the database, and check that the server is neither a node of a Redis Cluster nor a Sentinel.

    Raises UnsupportedServer. For `redis_connect_func` of redis-py."""
    await _set_up(connection)


async def set_up_primary(connection: AbstractConnection) -> None:
    """As `set_up`, and check that the server is a primary. Raises ConnectionError for a replica, so that the caller
    asks the Sentinels again: they may name a server whose role has just changed."""
    facts = await _set_up(connection)
    if facts.get("role", "master") != "master":
        raise ConnectionError("the Sentinels name a server that is not the primary now")


async def _set_up(connection: AbstractConnection) -> Mapping[str, Any]:
    try:
        await connection.on_connect_check_health(check_health=False)
    except (ResponseError, AuthenticationError):
        # A Sentinel has no command SELECT and other users, and a cluster has only one database. After a refused login
        # redis-py has closed the connection, and another command would log in again, without end.
        if connection.is_connected:
            check_mode(await _hello(connection))
        raise
    facts = await _hello(connection)
    check_mode(facts)
    return facts


async def _hello(connection: AbstractConnection) -> Mapping[str, Any]:
    """Return the answer to HELLO; empty if the server refuses the command."""
    await connection.send_command("HELLO", check_health=False)
    try:
        return hello_facts(await connection.read_response())
    except ResponseError:
        return {}


def hello_facts(answer: Any) -> dict[str, Any]:
    """Return the answer to HELLO as a dict with str keys. RESP2 answers with a list. No I/O."""
    pairs = answer.items() if isinstance(answer, Mapping) else zip(answer[::2], answer[1::2], strict=False)
    return {_text(name): _text(value) for name, value in pairs}


def check_mode(facts: Mapping[str, Any]) -> None:
    """Raise UnsupportedServer if the answer to HELLO is that of a Redis Cluster or of a Sentinel. No I/O."""
    if facts.get("mode") == "cluster":
        raise UnsupportedServer(CLUSTER_UNSUPPORTED)
    if facts.get("mode") == "sentinel":
        raise UnsupportedServer(SENTINEL_AS_REDIS)


def _text(value: Any) -> Any:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


__all__ = ["UnsupportedServer", "check_mode", "hello_facts", "set_up", "set_up_primary"]
