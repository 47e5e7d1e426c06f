"""Creates the connection pool for a parsed STT_REDIS_URL: one server, or the primary that the Sentinels report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Connection, ConnectionPool, Redis, SSLConnection
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, ReadOnlyError, ResponseError, TimeoutError

from worker.ledger.server_check import UnsupportedServer, set_up, set_up_primary
from worker.redis_url import RedisAddress

MAX_RETRIES: Final = 4
MAX_FAILOVER_RETRIES: Final = 14
"""Retries of a command if Sentinels watch the servers: about 12 s, longer than most failovers. A commit waits for
the new primary, and the attempt at the job goes on."""
COMMAND_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5.0
SENTINEL_TIMEOUT_S: Final = 1.0
"""Maximum seconds to connect to a Sentinel, and for its answer. Another one is asked if it does not answer."""
MAX_CONNECTIONS: Final = 64
"""Maximum of open connections of one process. If all are in use, a command waits up to COMMAND_TIMEOUT_S for one."""


class Sentinels:
    """Asks the Sentinels for the address of the primary.

    Replaces `redis.asyncio.Sentinel`, which retries each dead Sentinel for seconds before it asks the next one, and
    needs the right to call more commands."""

    def __init__(self, address: RedisAddress) -> None:
        self._name = address.master
        options: dict[str, Any] = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), SENTINEL_TIMEOUT_S)
        options |= address.sentinel_options()
        self._clients = [
            (
                f"{host}:{port}",
                Redis(host=host, port=port, decode_responses=True, retry=Retry(NoBackoff(), 0), **options),
            )
            for host, port in address.hosts
        ]

    async def primary(self) -> tuple[str, int]:
        """Return host and port of the primary. Raises ConnectionError if no Sentinel can name it, and UnsupportedServer
        if an address is not that of a Sentinel."""
        reasons: list[str] = []
        for number, (shown, client) in enumerate(self._clients):
            try:
                command = "SENTINEL GET-MASTER-ADDR-BY-NAME"
                answer = await client.execute_command(command, self._name)  # type: ignore[no-untyped-call]
            except (ConnectionError, TimeoutError, OSError) as exc:
                reasons.append(f"{shown}: {exc or type(exc).__name__}")
            except ResponseError as exc:
                if "unknown command" in str(exc).lower():
                    raise UnsupportedServer(f"{shown} is not a Sentinel: use redis://{shown}/0") from exc
                reasons.append(f"{shown}: {exc}")
            else:
                if answer:
                    # Ask this one first the next time.
                    self._clients.insert(0, self._clients.pop(number))
                    return str(answer[0]), int(answer[1])
                reasons.append(f"{shown}: it knows no primary of this name")
        raise ConnectionError(f"no Sentinel names the primary {self._name!r}: {'; '.join(reasons)}")

    async def close(self) -> None:
        for _, client in self._clients:
            await client.aclose()


class PrimaryConnection(Connection):
    """A connection to the primary that the Sentinels report when the connection is made.

    Replaces `SentinelManagedConnection` of redis-py 8.1, which reconnects to the dead primary when a command is
    retried."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        if not self.is_connected:
            self.host, self.port = await self._sentinels.primary()
        # Without retries of its own: each retry of the command asks the Sentinels again.
        await super().connect_check_health(check_health, retry_socket_connect=False)

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except ReadOnlyError:
            # The primary became a replica. The retry of the command connects to the new primary.
            await self.disconnect()
            raise ConnectionError("the primary became a replica") from None


class PrimarySSLConnection(PrimaryConnection, SSLConnection):
    """The same over TLS."""


def make_pool(address: RedisAddress, retries: int | None = None) -> ConnectionPool:
    """Return the pool for an address. It connects with the first command. `retries`: retries of a command; None: the
    usual number for this kind of address."""
    if retries is None:
        retries = MAX_FAILOVER_RETRIES if address.scheme == "sentinel" else MAX_RETRIES
    options = {**_defaults(retries), **address.server_options()}
    if address.scheme == "sentinel":
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
        return BlockingConnectionPool(connection_class=UnixDomainSocketConnection, path=address.path, **options)
    host, port = address.hosts[0]
    kind = SSLConnection if address.tls else Connection
    return BlockingConnectionPool(connection_class=kind, host=host, port=port, **options)


def _defaults(retries: int) -> Mapping[str, Any]:
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
        "retry": Retry(ExponentialWithJitterBackoff(cap=2.0, base=0.1), retries),
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
