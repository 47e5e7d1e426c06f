"""Creates the connection pool for a parsed STT_REDIS_URL: one server, or the primary that the Sentinels report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError

from worker.ledger.closed_transport import ServerConnection, ServerSSLConnection, ServerUnixConnection
from worker.ledger.sentinels import PrimaryConnection, PrimarySSLConnection, Sentinels
from worker.ledger.server_check import set_up, set_up_primary
from worker.redis_url import RedisAddress

MAX_RETRIES: Final = 4
MAX_PAUSE_S: Final = 2.0
"""Longest pause between two tries, in seconds."""
MAX_FAILOVER_RETRIES: Final = 28
"""Retries of a command if Sentinels watch the servers: about 12 s, longer than most failovers. A commit waits for
the new primary, and the attempt at the job goes on."""
MAX_FAILOVER_PAUSE_S: Final = 0.5
"""Longest pause between two of these tries. Short, because running jobs must renew their leases in time."""
COMMAND_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 64
"""Maximum of open connections of one process. If all are in use, a command waits up to COMMAND_TIMEOUT_S for one."""


def make_pool(address: RedisAddress, retries: int | None = None) -> ConnectionPool:
    """Return the pool for an address. It connects with the first command. `retries`: retries of a command; None: the
    usual number for this kind of address."""
    watched = address.scheme == "sentinel"
    if retries is None:
        retries = MAX_FAILOVER_RETRIES if watched else MAX_RETRIES
    longest_s = MAX_FAILOVER_PAUSE_S if watched else MAX_PAUSE_S
    options = {**_defaults(retries, longest_s), **address.server_options()}
    if watched:
        return BlockingConnectionPool(
            connection_class=PrimarySSLConnection if address.tls else PrimaryConnection,
            redis_connect_func=set_up_primary,
            sentinels=Sentinels(address),
            **options,
        )
    options["redis_connect_func"] = set_up
    if address.scheme == "unix":
        for name in ("socket_keepalive", "socket_connect_timeout"):
            options.pop(name)  # a Unix socket has neither
        return BlockingConnectionPool(connection_class=ServerUnixConnection, path=address.path, **options)
    host, port = address.hosts[0]
    kind = ServerSSLConnection if address.tls else ServerConnection
    return BlockingConnectionPool(connection_class=kind, host=host, port=port, **options)


def _defaults(retries: int, longest_s: float) -> Mapping[str, Any]:
    return {
        "max_connections": MAX_CONNECTIONS,
        "timeout": COMMAND_TIMEOUT_S,
        "socket_timeout": COMMAND_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "socket_keepalive": True,
        # Load balancers and firewalls drop idle connections silently, often after 60 s or more.
        "health_check_interval": 25,
        "decode_responses": True,
        # By default, a command fails if one of the values that it reads is not UTF-8, even if all other values are
        # valid.
        "encoding_errors": "backslashreplace",
        "retry": Retry(ExponentialWithJitterBackoff(cap=longest_s, base=0.1), retries),
        # BusyLoadingError: a server that has just been restarted refuses commands until it has read its data.
        "retry_on_error": [BusyLoadingError, ConnectionError, TimeoutError],
    }


async def close_pool(pool: ConnectionPool) -> None:
    """Close all connections, also those to the Sentinels."""
    await pool.disconnect()
    sentinels = pool.connection_kwargs.get("sentinels")
    if isinstance(sentinels, Sentinels):
        await sentinels.close()


__all__ = ["COMMAND_TIMEOUT_S", "close_pool", "make_pool"]
