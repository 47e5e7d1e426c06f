"""Connections to the primary that the Sentinels name."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any, Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ReadOnlyError, ResponseError, TimeoutError

from worker.ledger.closed_transport import ServerConnection, ServerSSLConnection, closed_as_connection_error
from worker.ledger.server_check import UnsupportedServer
from worker.redis_url import RedisAddress

SENTINEL_TIMEOUT_S: Final = 1.0
"""Maximum seconds to connect to a Sentinel, and for its answer. Another one is asked if it does not answer."""
RECHECK_S: Final = 2.0
"""Seconds after which an open connection is used only if the Sentinels still name its server."""


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
        self._named: tuple[str, int] | None = None
        self._asked_at = -math.inf

    async def primary(self) -> tuple[str, int]:
        """Return host and port of the primary. Raises ConnectionError if no Sentinel can name it, and UnsupportedServer
        if an address is not that of a Sentinel."""
        reasons: list[str] = []
        for number, (shown, client) in enumerate(self._clients):
            try:
                command = "SENTINEL GET-MASTER-ADDR-BY-NAME"
                with closed_as_connection_error():
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
                    self._named, self._asked_at = (str(answer[0]), int(answer[1])), time.monotonic()
                    return self._named
                reasons.append(f"{shown}: it knows no primary of this name")
        raise ConnectionError(f"no Sentinel names the primary {self._name!r}: {'; '.join(reasons)}")

    async def have_replaced(self, server: tuple[str, int]) -> bool:
        """Whether the Sentinels name another primary than `server`. Asks them at most every RECHECK_S seconds."""
        if time.monotonic() - self._asked_at >= RECHECK_S:
            self._asked_at = time.monotonic()  # before the answer, so that other commands do not ask as well
            with suppress(ConnectionError):  # no answer is no reason to leave a server that works
                await self.primary()
        return self._named is not None and self._named != server

    async def close(self) -> None:
        for _, client in self._clients:
            await client.aclose()


class PrimaryConnection(ServerConnection):
    """A connection to the primary that the Sentinels report when the connection is made.

    Replaces `SentinelManagedConnection` of redis-py 8.1, which reconnects to the dead primary when a command is
    retried, and uses an open connection as long as its server answers. But a primary that the Sentinels could not reach
    for a moment answers for about 10 s after they have replaced it, and all writes to it are lost."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def connect_check_health(self, check_health: bool = True, retry_socket_connect: bool = True) -> None:
        """Connect, unless the connection is open and its server is still the primary. The pool calls this before each
        use of a connection."""
        if self.is_connected and await self._sentinels.have_replaced((self.host, self.port)):
            await self.disconnect()
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


class PrimarySSLConnection(PrimaryConnection, ServerSSLConnection):
    """The same over TLS."""


__all__ = ["SENTINEL_TIMEOUT_S", "PrimaryConnection", "PrimarySSLConnection", "Sentinels"]
